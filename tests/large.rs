//! Proves that size changes nothing: the vocabulary of a language model, millions of rows, sums of millions of items.
//! Every value is compared with the reference in f64.

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{CrossEntropy, Evaluate, LOSSES, Loss, Nll, Reduction, RowStrategy, Want};
use ndarray::{ArrayD, IxDyn};

use crate::support::compare::{TOLERANCE, outputs, tensor};
use crate::support::{cases, ensure, facts, gpu, places, reason, resident, table};

/// Logits and labels made quickly: a multiplicative hash, spread over -8 .. 8; one label in eleven is ignored.
fn batch(rows: usize, classes: usize) -> OwnedTensors {
    let mut hash = 0_u32;
    let input = ArrayD::from_shape_simple_fn(IxDyn(&[rows, classes]), || {
        hash = hash.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (hash >> 8) as f32 / (1 << 20) as f32 - 8.0
    });
    let label = |row: usize| if row % 11 == 3 { -100 } else { (row * 7919 % classes) as i64 };
    let labels = ArrayD::from_shape_fn(IxDyn(&[rows]), |place| label(place[0]));
    OwnedTensors::new(input, OwnedTarget::Indices(labels))
}

fn weights(classes: usize) -> Vec<f32> {
    (0..classes).map(|c| 0.5 + (c % 5) as f32 * 0.375).collect()
}

fn check(loss: &dyn Loss, tensors: &OwnedTensors) -> Result<(), String> {
    let want = cases::everything(loss, tensors);
    let got = loss.evaluate(&gpu(), &tensors.view().wants(want)).map_err(reason)?;
    let oracle = loss.reference(&tensors.to_f64().view().wants(want)).map_err(reason)?;
    outputs(&got, &oracle, cases::scales(loss, tensors), TOLERANCE)
}

/// 131 MB of logits, close to the smallest binding that WebGPU promises.
#[test]
fn the_vocabulary_of_a_language_model() {
    let tensors = batch(256, 128_256);
    table(|rows| {
        let weighted = CrossEntropy::new().weight(weights(128_256));
        rows.row("cross_entropy, weighted mean", check(&weighted, &tensors));
        let smooth = CrossEntropy::new().label_smoothing(0.1).reduction(Reduction::None);
        rows.row("cross_entropy, smoothing, none", check(&smooth, &tensors));
        rows.row("nll_loss, sum", check(&Nll::new().reduction(Reduction::Sum), &tensors));
    });
}

/// Every loss with its most elaborate variant: more items than one workgroup of a reduction sums, in hundreds of
/// records, and a denominator that is counted over as many.
#[test]
fn millions_of_elements_in_every_loss() {
    table(|rows| {
        // Of the second, the last four elements are not whole, which matters to element-wise losses.
        for [n, c] in [[4_194_304 / 10, 10], [41_943, 9]] {
            for info in LOSSES {
                let loss = (info.variants)(c).pop().expect("a variant").with_reduction(Reduction::Mean);
                let tensors = loss.example_inputs(&[n, c], 1);
                if c == 9 && cases::has_rows(&*loss, &tensors) {
                    continue;
                }
                rows.row(format!("{} ({n}, {c})", info.name), check(&*loss, &tensors));
            }
        }
    });
}

/// Millions of rows of one class, which is all their probability.
#[test]
fn millions_of_rows_of_one_class() {
    let tensors = batch(4_194_304, 1);
    table(|rows| {
        let mean = CrossEntropy::new().weight([0.75]);
        rows.row("cross_entropy, mean", check(&mean, &tensors));
        let none = Nll::new().weight([0.75]).reduction(Reduction::None);
        rows.row("nll_loss, none", check(&none, &tensors));
    });
}

/// An adapter on the CPU ends an invocation that loops too often, silently: the longest rows that each strategy says it
/// serves, with an infinity or NaN in one of them, which takes a pass more, and one that is ignored. On a GPU nothing
/// bounds them.
#[test]
fn the_longest_rows_that_a_strategy_serves() {
    let facts = facts();
    let lanes = facts.shuffled().map(|lanes| RowStrategy::Lanes { lanes, held: 0 });
    table(|rows| {
        for strategy in [RowStrategy::Thread].into_iter().chain(lanes) {
            let (mut served, mut refused) = (1, 500_000);
            while refused - served > 1 {
                let middle = usize::midpoint(served, refused);
                if strategy.serves(&facts, middle) { served = middle } else { refused = middle }
            }
            for classes in [served, served - served % 4] {
                for bad in [0.0, f32::NEG_INFINITY, f32::NAN] {
                    let mut tensors = batch(5, classes);
                    tensors.input[[1, classes - 1]] = bad;
                    for loss in [CrossEntropy::new(), CrossEntropy::new().label_smoothing(0.1).z_loss(1e-3)] {
                        let want = Want::LOSS | Want::GRAD;
                        let loss = loss.reduction(Reduction::None);
                        let got = resident::run(&gpu(), &loss, &tensors, want, Some(strategy)).map_err(reason);
                        let oracle = loss.reference(&tensors.to_f64().view().wants(want)).expect("a valid call");
                        let scales = cases::scales(&loss, &tensors);
                        let outcome = got.and_then(|got| outputs(&got, &oracle, scales, TOLERANCE));
                        rows.row(format!("{strategy:?} {classes} classes, {bad}, {:?}", loss.info().name), outcome);
                    }
                }
            }
        }
    });
}

/// The sum of two million equal losses: a running sum in f32 would be off by 1e-2.
#[test]
fn a_sum_of_millions_keeps_its_digits() {
    const ROWS: usize = 2_097_152;
    let log_p = ArrayD::from_elem(IxDyn(&[ROWS, 1]), -0.1_f32);
    let tensors = OwnedTensors::new(log_p, OwnedTarget::Indices(ArrayD::zeros(IxDyn(&[ROWS]))));
    table(|rows| {
        for (place, ctx) in places() {
            for (reduction, expected) in [(Reduction::Sum, ROWS as f64), (Reduction::Mean, 1.0)] {
                let output = Nll::new().reduction(reduction).evaluate(&ctx, &tensors.view().wants(Want::LOSS));
                let got = output.expect("a valid call").scalar().map_or(f64::NAN, f64::from);
                let error = (got / (expected * f64::from(0.1_f32)) - 1.0).abs();
                let outcome = ensure(error <= 1.2e-7, || format!("{got:e}, relative error {error:e}"));
                rows.row(format!("{place} {reduction:?}"), outcome);
            }
        }
    });
}

/// Equal logits: the loss is ln C, the gradient 1 / C, wherever the logits lie.
#[test]
fn equal_logits_of_a_large_vocabulary_give_the_logarithm_of_its_size() {
    const CLASSES: usize = 128_256;
    table(|rows| {
        for (place, ctx) in places() {
            for level in [0.0_f32, -7.25, 1e8, -1e30] {
                let input = ArrayD::from_elem(IxDyn(&[1, CLASSES]), level);
                let target = OwnedTarget::Indices(ArrayD::from_elem(IxDyn(&[1]), 128_000));
                let tensors = OwnedTensors::new(input, target);
                let output = CrossEntropy::new().evaluate(&ctx, &tensors.view());
                let output = output.expect("a valid call");
                let loss = output.scalar().map_or(f64::NAN, f64::from);
                let error = (loss / (CLASSES as f64).ln() - 1.0).abs();
                let outcome = ensure(error <= 2e-6, || format!("{loss}, relative error {error:e}"));
                rows.row(format!("{place} loss at {level:e}"), outcome);

                let mut expected = ArrayD::from_elem(IxDyn(&[1, CLASSES]), 1.0 / CLASSES as f64);
                expected[[0, 128_000]] -= 1.0;
                // The tolerance is that of the elements that are 1 / C, not of the one that is nearly 1.
                let outcome = output.grad_input.ok_or("no gradient".into()).and_then(|mut grad| {
                    let at_label = (f64::from(grad[[0, 128_000]]) - expected[[0, 128_000]]).abs();
                    (grad[[0, 128_000]], expected[[0, 128_000]]) = (0.0, 0.0);
                    tensor(&grad, &expected, 4e-6, 0.0)?;
                    ensure(at_label <= 1e-7, || format!("off by {at_label:e} at the label"))
                });
                rows.row(format!("{place} gradient at {level:e}"), outcome);
            }
        }
    });
}
