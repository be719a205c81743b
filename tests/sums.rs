//! Proves that sums keep their digits at any length. Each case is a sum of equal terms, or of terms that vary so slowly
//! that they are rounded alike, for which a plain sum in f32 fails: the test asserts that too. Sums over classes run in
//! one lane on the GPU, sums over rows and items as they are planned.

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{
    BceWithLogits, Context, CrossEntropy, Direction, Evaluate, Hinge, KlDiv, KlFromLogits, Loss, MarginRanking,
    MultiLabelMargin, MultiLabelSoftMargin, MultiMargin, Nll, Output, Reduction, RowStrategy, SoftmaxFocal, Want,
};
use ndarray::{ArrayD, IxDyn};

use crate::support::compare::TOLERANCE;
use crate::support::{cases, ensure, gpu, reason, resident, table};

/// About as many classes as software adapters let one lane take.
const CLASSES: usize = 50_000;
/// Rows, or items along the longer axis.
const ITEMS: usize = 1 << 21;
/// Terms grow by this share from the first to the last.
const SLOPES: [f64; 2] = [0.0, 1e-5];
/// Besides the sum, what enters a gradient is rounded too: a loss' exponentials, a quotient, a product.
const GRADIENT_TOLERANCE: f64 = 2.0 * TOLERANCE;

struct Case {
    name: String,
    loss: Box<dyn Loss>,
    tensors: OwnedTensors,
    want: Want,
    /// What is summed.
    terms: Vec<f32>,
}

impl Case {
    fn new(name: &str, loss: impl Loss + 'static, tensors: OwnedTensors, terms: Vec<f32>) -> Self {
        Self { name: name.into(), loss: Box::new(loss), tensors, want: Want::LOSS | Want::GRAD, terms }
    }

    /// The relative error of a lane that takes sixteen terms at a time and adds up plainly.
    fn drift(&self) -> f64 {
        let plain = self.terms.chunks(16).fold(0.0_f32, |sum, run| sum + run.iter().sum::<f32>());
        let exact: f64 = self.terms.iter().map(|&term| f64::from(term)).sum();
        (f64::from(plain) / exact - 1.0).abs()
    }

    fn check(&self, got: Result<Output, String>) -> Result<(), String> {
        let drift = self.drift();
        ensure(drift > 10.0 * TOLERANCE, || format!("a plain sum would do: it is off by {drift:e}"))?;
        let (got, oracle) =
            (got?, self.loss.reference(&self.tensors.to_f64().view().wants(self.want)).map_err(reason)?);
        compare("loss", got.loss.as_ref(), oracle.loss.as_ref(), TOLERANCE)?;
        compare("gradient", got.grad_input.as_ref(), oracle.grad_input.as_ref(), GRADIENT_TOLERANCE)?;
        compare("second gradient", got.grad_input2.as_ref(), oracle.grad_input2.as_ref(), GRADIENT_TOLERANCE)?;
        compare("target's gradient", got.grad_target.as_ref(), oracle.grad_target.as_ref(), GRADIENT_TOLERANCE)?;
        let (got, oracle) = (got.stats.as_ref(), oracle.stats.as_ref());
        compare("lse", got.map(|stats| &stats.lse), oracle.map(|stats| &stats.lse), TOLERANCE)?;
        compare("entropy", got.map(|stats| &stats.entropy), oracle.map(|stats| &stats.entropy), TOLERANCE)
    }
}

/// The relative error of every element; of those that are small among their like, relative to an ordinary one.
fn compare(name: &str, got: Option<&ArrayD<f32>>, expected: Option<&ArrayD<f64>>, allowed: f64) -> Result<(), String> {
    let (Some(got), Some(expected)) = (got, expected) else {
        return ensure(got.is_none() && expected.is_none(), || format!("{name}: there, or expected, but not both"));
    };
    let mut sizes: Vec<f64> = expected.iter().map(|v| v.abs()).collect();
    let middle = sizes.len() / 2;
    let ordinary = *sizes.select_nth_unstable_by(middle, f64::total_cmp).1;
    let errors = got.iter().zip(expected).map(|(&got, &v)| (f64::from(got) - v).abs() / v.abs().max(ordinary));
    // Not by `f64::max`, which loses NaN.
    let worst = errors.fold(0.0, |worst, error| if error <= worst { worst } else { error });
    ensure(worst <= allowed, || format!("{name}: off by {worst:.1e}"))
}

/// Every element of rows of classes from its class; two rows.
fn rows_of(value: impl Fn(usize) -> f64) -> ArrayD<f32> {
    ArrayD::from_shape_fn(IxDyn(&[2, CLASSES]), |place| value(place[1]) as f32)
}

fn terms(count: usize, term: impl Fn(usize) -> f64) -> Vec<f32> {
    (0..count).map(|k| term(k) as f32).collect()
}

/// The first class is the target.
fn first_class(input: ArrayD<f32>) -> OwnedTensors {
    OwnedTensors::new(input, OwnedTarget::Indices(ArrayD::zeros(IxDyn(&[2]))))
}

fn values(input: ArrayD<f32>, target: ArrayD<f32>) -> OwnedTensors {
    OwnedTensors::new(input, OwnedTarget::Values(target))
}

/// Sums over classes. The levels of the logits are such that the terms are rounded off the mark.
fn over_classes(slope: f64) -> Vec<Case> {
    let c = CLASSES as f64;
    let grow = |k: usize| 1.0 + slope * k as f64 / c;
    // The first logit is the largest; the others lie `below` it.
    let below = |below: f64| first_class(rows_of(|k| if k == 0 { 0.0 } else { -below * grow(k) }));
    let none = Reduction::None;
    let ce = || CrossEntropy::new().reduction(none);
    let weights = |w: f64| (0..CLASSES).map(|k| (w * grow(k)) as f32).collect::<Vec<_>>();
    // A probability of 0.7 of the largest.
    let exp = terms(CLASSES, |k| (-0.356_675 * grow(k)).exp());
    let mut all = vec![
        Case::new("softmax", ce(), below(0.356_675), exp.clone()),
        Case::new("z-loss", ce().z_loss(1e-2), below(0.356_675), exp.clone()),
        Case::new(
            "label smoothing",
            ce().label_smoothing(0.1),
            below(0.667_57),
            terms(CLASSES, |k| 0.1 / c * 0.667_57 * grow(k)),
        ),
        Case::new(
            "label smoothing, class weights",
            ce().label_smoothing(0.1).weight(weights(0.667_57)),
            below(0.356_675),
            terms(CLASSES, |k| 0.1 / c * 0.667_57 * grow(k)),
        ),
        Case::new(
            "probabilities, class weights",
            ce().weight(weights(1.068_12)),
            values(rows_of(|k| if k % 2 == 0 { 0.0 } else { -1.0 }), rows_of(|_| 1.0 / c)),
            terms(CLASSES, |k| 1.068_12 / c * grow(k)),
        ),
        Case::new(
            "focal, label smoothing",
            SoftmaxFocal::new().label_smoothing(0.17).reduction(none),
            below(0.356_675),
            terms(CLASSES, |k| 0.17 / c * ((c * 0.7).ln() + 0.356_675) * grow(k)),
        ),
        Case::new(
            "multi-margin, p = 1",
            MultiMargin::new().reduction(none),
            first_class(rows_of(|k| if k == 0 { 0.465_94 } else { slope * k as f64 / c })),
            terms(CLASSES, |k| 0.534_06 / c * grow(k)),
        ),
        Case::new(
            "multi-margin, p = 2",
            MultiMargin::new().p(2).reduction(none),
            first_class(rows_of(|k| if k == 0 { -0.0335 } else { slope * k as f64 / c })),
            terms(CLASSES, |k| 1.0335_f64.powi(2) / c * grow(k)),
        ),
        Case::new(
            "multi-label soft margin",
            MultiLabelSoftMargin::new().reduction(none),
            values(rows_of(|k| -0.348_37 * grow(k)), rows_of(|_| 0.0)),
            terms(CLASSES, |k| 0.534_06 / c * grow(k)),
        ),
        Case::new(
            "multi-label margin",
            MultiLabelMargin::new().reduction(none),
            OwnedTensors::new(
                rows_of(|k| if k == 0 { 0.465_94 } else { slope * k as f64 / c }),
                OwnedTarget::Indices(ArrayD::from_shape_fn(IxDyn(&[2, CLASSES]), |place| -i64::from(place[1] > 0))),
            ),
            terms(CLASSES, |k| 0.534_06 / c * grow(k)),
        ),
    ];
    all[1].want |= Want::STATS;
    // Student and teacher prefer every other class; for the softmax of both, 1 and 0.4 in turn.
    let sided = |k: usize, side: usize| if k % 2 == side { 0.0 } else { -0.916_291 * grow(k) };
    for direction in [Direction::Forward, Direction::Reverse, Direction::Jsd(0.5)] {
        all.push(Case::new(
            &format!("divergence, {direction:?}"),
            KlFromLogits::new().direction(direction).reduction(none),
            values(rows_of(|k| sided(k, 0)), rows_of(|k| sided(k, 1))),
            terms(CLASSES, |k| sided(k, 0).exp()),
        ));
    }
    all.iter_mut().for_each(|case| case.name = format!("{}, slope {slope:e}", case.name));
    all
}

/// Sums over items and rows, of losses, denominators and the gradients of what broadcasts.
fn over_items(slope: f64) -> Vec<Case> {
    let grow = |k: usize| 1.0 + slope * k as f64 / ITEMS as f64;
    let along =
        |shape: &[usize], level: f64| ArrayD::from_shape_fn(IxDyn(shape), |place| (level * grow(place[0])) as f32);
    let seven = || terms(ITEMS, |k| 0.7 * grow(k));
    let (one, two) = ([ITEMS], [ITEMS, 2]);
    let first = |rows: usize| OwnedTarget::Indices(ArrayD::zeros(IxDyn(&[rows])));
    let mut all = Vec::new();
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let name = |name: &str| format!("{name}, {reduction:?}, slope {slope:e}");
        all.extend([
            Case::new(
                &name("binary cross-entropy"),
                BceWithLogits::new().reduction(reduction),
                values(along(&one, 0.013_658), along(&one, 0.0)),
                seven(),
            ),
            Case::new(
                &name("hinge"),
                Hinge::new().reduction(reduction),
                values(along(&one, 0.3), along(&one, 1.0)),
                seven(),
            ),
            Case::new(
                &name("divergence"),
                KlDiv::new().reduction(reduction),
                values(along(&one, -2.0931), along(&one, 0.5)),
                seven(),
            ),
            // The denominator too.
            Case::new(
                &name("class weights"),
                Nll::new().weight([0.7]).reduction(reduction),
                OwnedTensors::new(along(&[ITEMS, 1], -1.0), first(ITEMS)),
                seven(),
            ),
            Case::new(
                &name("sample weights"),
                CrossEntropy::new().reduction(reduction),
                OwnedTensors {
                    sample_weight: Some(along(&one, 0.7)),
                    ..OwnedTensors::new(along(&two, 0.25), first(ITEMS))
                },
                seven(),
            ),
        ]);
    }
    // Each of two elements has its gradient from two million items, whose own is grad_output.
    let pair = || ArrayD::from_elem(IxDyn(&[1, 2]), 0.25);
    for (name, input, input2) in [("first", pair(), along(&two, 0.25)), ("second", along(&two, 0.25), pair())] {
        all.push(Case::new(
            &format!("broadcast {name} input, slope {slope:e}"),
            MarginRanking::new().margin(1.0).reduction(Reduction::None),
            OwnedTensors {
                input2: Some(input2),
                grad_output: Some(along(&two, 0.7)),
                ..values(input, ArrayD::ones(IxDyn(&two)))
            },
            seven(),
        ));
    }
    for case in &mut all {
        case.want = cases::everything(&*case.loss, &case.tensors);
    }
    all
}

#[test]
fn sums_over_classes_on_the_cpu() {
    table(|rows| {
        for case in SLOPES.into_iter().flat_map(over_classes) {
            let got = case.loss.evaluate(&Context::cpu(), &case.tensors.view().wants(case.want)).map_err(reason);
            rows.row(&case.name, case.check(got));
        }
    });
}

/// All terms in one lane; not those of lists of labels, which would take it 50 000 times as long.
#[test]
fn sums_over_classes_in_one_lane() {
    table(|rows| {
        for case in SLOPES.into_iter().flat_map(over_classes) {
            if case.loss.info().name != "multilabel_margin_loss" {
                let thread = Some(RowStrategy::Thread);
                let got = resident::run(&gpu(), &*case.loss, &case.tensors, case.want, thread).map_err(reason);
                rows.row(&case.name, case.check(got));
            }
        }
    });
}

#[test]
fn sums_over_rows_and_items() {
    table(|rows| {
        for case in SLOPES.into_iter().flat_map(over_items) {
            for (place, ctx) in crate::support::places() {
                let got = case.loss.evaluate(&ctx, &case.tensors.view().wants(case.want)).map_err(reason);
                rows.row(format!("{place} {}", case.name), case.check(got));
            }
        }
    });
}

/// Losses out of proportion, each in a part of the batch that another group sums: the mean is in the range of f32 though
/// the sum is not, and infinities and NaN are what they are in IEEE 754.
#[test]
fn huge_and_infinite_losses_among_many() {
    const ROWS: usize = 20_000;
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let places = [3, 8_200, ROWS - 1];
    table(|rows| {
        for (place, ctx) in crate::support::places() {
            for level in [0.7_f32, 3e38] {
                for odd in [
                    [0.7; 3],
                    [3e38, -2e38, 3e38],
                    [inf, 0.7, 3e38],
                    [1.0, -inf, -inf],
                    [inf, 1.0, -inf],
                    [nan, 0.7, inf],
                ] {
                    let mut losses = ArrayD::from_elem(IxDyn(&[ROWS, 1]), level);
                    places.into_iter().zip(odd).for_each(|(at, loss)| losses[[at, 0]] = loss);
                    let expected = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / ROWS as f64;
                    let labels = OwnedTarget::Indices(ArrayD::zeros(IxDyn(&[ROWS])));
                    let tensors = OwnedTensors::new(losses.mapv(|loss| -loss), labels);
                    let output = Nll::new().evaluate(&ctx, &tensors.view().wants(Want::LOSS)).expect("a valid call");
                    let got = f64::from(output.scalar().expect("a mean"));
                    let same = got == expected || got.is_nan() && expected.is_nan();
                    let close = expected.is_finite() && (got / expected - 1.0).abs() <= TOLERANCE;
                    let outcome = ensure(same || close, || format!("{got:e}, expected {expected:e}"));
                    rows.row(format!("{place} {level:e} and {odd:?}"), outcome);
                }
            }
        }
    });
}

/// What all this is compared with: the reference in f64 has the value of the closed form.
#[test]
fn the_reference_agrees_with_closed_forms() {
    let case = &over_classes(0.0)[0];
    let output = case.loss.reference(&case.tensors.to_f64().view()).expect("a valid call");
    let others = (CLASSES - 1) as f64 * f64::from(-0.356_675_f32).exp();
    let (loss, grads) = (output.loss.expect("wanted"), output.grad_input.expect("wanted"));
    let error = (loss[[0]] / others.ln_1p() - 1.0).abs();
    assert!(error < 1e-14, "the loss is off by {error:e}");
    let error = (grads[[0, 0]] * (1.0 + others) / -others - 1.0).abs();
    assert!(error < 1e-14, "the gradient is off by {error:e}");
}
