//! Proves that the gradients are those of the loss: central differences in f64 through the CPU reference, for every
//! loss, variant and reduction, with respect to everything that has a gradient, under an upstream gradient too. The
//! kernels follow by parity.rs.

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{Evaluate, Loss, Output, Want};
use ndarray::ArrayD;

use crate::support::compare::bits;
use crate::support::{cases, ensure, reason, table};

/// Central differences with steps h and 2 h, extrapolated: the error is of order h^4 f^(5), and 1e-16 f / h from
/// rounding.
const STEP: f64 = 1e-5;
const ALLOWED: f64 = 1e-7;

/// Where a derivative can be taken.
type Part = fn(&mut OwnedTensors<f64>) -> Option<&mut ArrayD<f64>>;

fn parts(output: Output<f64>) -> [(&'static str, Option<ArrayD<f64>>, Part); 3] {
    [
        ("grad_input", output.grad_input, |tensors| Some(&mut tensors.input)),
        ("grad_input2", output.grad_input2, |tensors| tensors.input2.as_mut()),
        ("grad_target", output.grad_target, |tensors| match &mut tensors.target {
            OwnedTarget::Values(values) => Some(values),
            OwnedTarget::Indices(_) => None,
        }),
    ]
}

/// sum(loss * grad_output), of which the gradients are.
fn objective(loss: &dyn Loss, tensors: &OwnedTensors<f64>) -> Result<f64, String> {
    let losses = loss.reference(&tensors.view().wants(Want::LOSS)).map_err(reason)?.loss.ok_or("no loss")?;
    Ok(match &tensors.grad_output {
        Some(upstream) => (losses * upstream).sum(),
        None => losses.sum(),
    })
}

fn check(loss: &dyn Loss, tensors: &OwnedTensors) -> Result<(), String> {
    let want = cases::everything(loss, tensors);
    let tensors = tensors.to_f64();
    let output = loss.reference(&tensors.view().wants(want)).map_err(reason)?;
    let empty = objective(loss, &tensors)?.is_nan();
    for (name, gradient, part) in parts(output) {
        for (index, &exact) in gradient.iter().flatten().enumerate() {
            if empty {
                // Every row of such a small batch may be ignored: the mean is NaN, its gradient 0.
                if exact != 0.0 {
                    return Err(format!("{name}[{index}] is {exact:e} where the mean is that of an empty batch"));
                }
                continue;
            }
            let at = |step: f64| {
                let mut moved = tensors.clone();
                *part(&mut moved).and_then(|values| values.iter_mut().nth(index)).ok_or("no such element")? += step;
                objective(loss, &moved)
            };
            let slope = |step: f64| Ok::<_, String>((at(step)? - at(-step)?) / (2.0 * step));
            let numeric = (4.0 * slope(STEP)? - slope(2.0 * STEP)?) / 3.0;
            let error = (numeric - exact).abs();
            // Where the loss ends (a target probability of 0) neither is a number.
            let both_nan = numeric.is_nan() && exact.is_nan();
            if !both_nan && (error.is_nan() || error > ALLOWED * exact.abs().max(1.0)) {
                return Err(format!("{name}[{index}] is {exact:e}, by differences {numeric:e}"));
            }
        }
    }
    Ok(())
}

/// Shapes with one row, with several, without a batch axis, and with a class axis that is not last.
#[test]
fn gradients_are_the_derivatives_of_the_loss() {
    const SHAPES: [&[usize]; 5] = [&[1, 2], &[6, 5], &[4], &[3, 4, 2], &[2, 1]];
    table(|rows| {
        for shape in SHAPES {
            for (name, loss) in cases::variants_of(shape) {
                let Some(tensors) = cases::example_inputs(&*loss, shape, 17) else { continue };
                for (reduction, loss) in cases::reductions(&*loss, &tensors) {
                    let name = format!("{name} {reduction:?} {shape:?}");
                    rows.row(&name, check(&*loss, &tensors));
                    let upstream = cases::with_upstream(&*loss, &tensors);
                    rows.row(format!("{name} with grad_output"), check(&*loss, &upstream));
                }
            }
        }
    });
}

/// What was not asked for is not there, and what was asked for does not depend on what else was.
#[test]
fn outputs_do_not_depend_on_each_other() {
    table(|rows| {
        for (name, loss) in cases::variants(5) {
            let tensors = cases::example_inputs(&*loss, &[4, 5], 8).expect("every loss takes (N, C)");
            let wide = tensors.to_f64();
            let of = |want| loss.reference(&wide.view().wants(want)).expect("a sample");
            let all = of(cases::everything(&*loss, &tensors));
            for want in cases::wants(&*loss, &tensors) {
                let expected = Output {
                    loss: all.loss.clone().filter(|_| want.contains(Want::LOSS)),
                    grad_input: all.grad_input.clone().filter(|_| want.contains(Want::GRAD)),
                    grad_input2: all.grad_input2.clone().filter(|_| want.contains(Want::GRAD_INPUT2)),
                    grad_target: all.grad_target.clone().filter(|_| want.contains(Want::GRAD_TARGET)),
                    stats: None,
                };
                let same = bits(&of(want)) == bits(&expected);
                rows.row(format!("{name} {want:?}"), ensure(same, || "differs"));
            }
        }
    });
}
