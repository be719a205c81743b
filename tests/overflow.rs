//! Proves that a result which float32 holds is computed though what it is made of would overflow: huge scores, huge
//! weights, means over many, small upstream gradients. The reference in f64 is the judge.

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{Evaluate, Loss, Output, Reduction, Want};
use ndarray::{ArrayD, IxDyn};

use crate::support::cases::Named;
use crate::support::{cases, ensure, places, reason, table};

/// Scores of every magnitude that matters, one after the other, in other company each time.
const SCORES: [f32; 11] = [0.0, 1e38, -1e38, 3e38, -3e38, 1.5, f32::MAX, f32::MIN, 2e38, -0.5, -2e38];

/// The loss' typical targets, on huge scores. Probabilities are no scores, and differences of huge logarithms keep fewer
/// digits of each element than is asked for here: divergences have tests of their own.
fn huge(loss: &dyn Loss, shape: &[usize], seed: u64) -> Option<OwnedTensors> {
    let mut tensors = cases::example_inputs(loss, shape, seed)?;
    if ["binary_cross_entropy", "kl_from_logits"].contains(&loss.info().name) {
        return None;
    }
    let mut next = seed as usize;
    let mut score = || {
        next = (next * 5 + 3) % 1024;
        SCORES[next / 8 % SCORES.len()]
    };
    let is_log_target = cases::has_flag(loss, &tensors, "LOG_TARGET");
    tensors.input.mapv_inplace(|_| score());
    if let Some(second) = &mut tensors.input2 {
        second.mapv_inplace(|_| score());
    }
    match &mut tensors.target {
        OwnedTarget::Values(t) if is_log_target => t.mapv_inplace(|_| -score().abs()),
        OwnedTarget::Values(_) | OwnedTarget::Indices(_) => {}
    }
    Some(tensors)
}

/// Upstream gradients of one size, of the loss' shape.
fn with_upstream(loss: &dyn Loss, tensors: &OwnedTensors, size: f32) -> OwnedTensors {
    let shape = cases::loss_shape(loss, tensors).expect("a call that the loss accepts");
    OwnedTensors { grad_output: Some(ArrayD::from_elem(IxDyn(&shape), size)), ..tensors.clone() }
}

/// What f32 holds is there, but for the rounding of numbers near 1 times the upstream gradient; other elements are not
/// looked at.
fn judge(what: &str, got: &Option<ArrayD<f32>>, exact: &Option<ArrayD<f64>>, upstream: f32) -> Result<(), String> {
    let (Some(got), Some(exact)) = (got, exact) else { return Ok(()) };
    let is_held = |v: f64| v.abs() < 0.999 * f64::from(f32::MAX);
    let pairs =
        || got.iter().map(|&got| f64::from(got)).zip(exact.iter().copied()).filter(|&(_, exact)| is_held(exact));
    let differs = |&(got, exact): &(f64, f64)| {
        let allowed = 1e-5 * (exact.abs() + f64::from(upstream));
        got.is_nan() || (got - exact).abs() > allowed
    };
    match pairs().find(differs) {
        None => Ok(()),
        Some((got, exact)) => Err(format!("{what}: {got:e}, expected {exact:e}")),
    }
}

fn compare(got: &Output, exact: &Output<f64>, items: &Output<f64>, upstream: f32) -> Result<(), String> {
    judge("grad_input", &got.grad_input, &exact.grad_input, upstream)?;
    judge("grad_input2", &got.grad_input2, &exact.grad_input2, upstream)?;
    judge("grad_target", &got.grad_target, &exact.grad_target, upstream)?;
    // An item's own loss may be more than f32 holds, and then the sum is infinite.
    let held = items.loss.iter().flatten().all(|&v| v.abs() < 0.999 * f64::from(f32::MAX));
    if held { judge("loss", &got.loss, &exact.loss, 1.0) } else { Ok(()) }
}

fn check(losses: Vec<Named>, shapes: &[&[usize]]) {
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss) in &losses {
                for (seed, shape) in shapes.iter().enumerate() {
                    let Some(tensors) = huge(&**loss, shape, seed as u64) else { continue };
                    let each = loss.with_reduction(Reduction::None);
                    let items = each.reference(&tensors.to_f64().view().wants(Want::LOSS)).expect("a valid call");
                    for reduction in [Reduction::None, Reduction::Mean] {
                        let loss = loss.with_reduction(reduction);
                        for size in [1.0, 1e-12] {
                            let tensors = with_upstream(&*loss, &tensors, size);
                            let want = cases::everything(&*loss, &tensors);
                            let outcome = (|| {
                                let got = loss.evaluate(&ctx, &tensors.view().wants(want)).map_err(reason)?;
                                let exact = loss.reference(&tensors.to_f64().view().wants(want)).map_err(reason)?;
                                compare(&got, &exact, &items, size)
                            })();
                            rows.row(format!("{place} {name} {reduction:?} {shape:?} upstream {size:e}"), outcome);
                        }
                    }
                }
            }
        }
    });
}

/// Losses that are made of rows of so many classes, or not.
fn chosen(losses: Vec<Named>, classes: usize, rows: bool) -> Vec<Named> {
    let has_rows = |loss: &dyn Loss| cases::has_rows(loss, &loss.example_inputs(&[2, classes], 1));
    losses.into_iter().filter(|(_, loss)| has_rows(&**loss) == rows).collect()
}

#[test]
fn what_elements_make_of_huge_scores_is_finite_where_it_can_be() {
    check(chosen(cases::variants(7), 7, false), &[&[6, 7], &[50, 7]]);
}

#[test]
fn what_rows_make_of_huge_scores_is_finite_where_it_can_be() {
    check(chosen(cases::variants(7), 7, true), &[&[6, 7], &[70, 7]]);
}

/// More classes than a lane takes by itself.
#[test]
fn what_long_rows_make_of_huge_scores_is_finite_where_it_can_be() {
    check(chosen(cases::fullest(101), 101, true), &[&[5, 101]]);
}

/// Squares whose double is too large for f32 though the gradient is not, by hand.
#[test]
fn gradients_of_squares_are_scaled_before_they_are_multiplied() {
    use deeploss::{MultiMargin, SquaredHinge, Tensors};
    use ndarray::array;
    table(|rows| {
        for (place, ctx) in places() {
            let (x, t) = (array![3e38_f32, 0.0, 0.0, 0.0], array![-1.0_f32, 1.0, 1.0, 1.0]);
            let got = SquaredHinge::new().evaluate(&ctx, &Tensors::new(x.view(), t.view()).wants(Want::GRAD));
            let got = got.expect("a valid call").grad_input.expect("a gradient")[[0]];
            rows.row(format!("{place} squared hinge"), ensure((got - 1.5e38).abs() < 1e32, || got.to_string()));
            let (x, t) = (array![[3e38_f32, 0.0, 0.0]], array![1_i64]);
            let got = MultiMargin::new().p(2).evaluate(&ctx, &Tensors::new(x.view(), t.view()).wants(Want::GRAD));
            let got = got.expect("a valid call").grad_input.expect("a gradient");
            // 2 * 3e38 / 3, and its negative at the label, but for the margin.
            let right = (got[[0, 0]] - 2e38).abs() < 1e32 && (got[[0, 1]] + 2e38).abs() < 1e32;
            rows.row(format!("{place} multi margin"), ensure(right, || format!("{got}")));
        }
    });
}
