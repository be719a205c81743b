//! Proves what must hold exactly or by mathematics, without a reference: invariances, edge cases and the digits of confident rows,
//! for cross-entropy and negative log-likelihood on the GPU and on the CPU.

mod support;

use deeploss::{Answer, Context, CrossEntropy, Loss, Nll, OwnedTarget, OwnedTensors, Reduction, Target, Tensors, Want};
use ndarray::{Array1, Array2, ArrayD, ArrayView, Axis, Dimension, array, s};
use proptest::prelude::*;
use support::compare::{bits, largest};
use support::{cases, places, table};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

/// Loss and gradient of a valid call.
fn run<'a, D: Dimension>(
    loss: &dyn Loss,
    ctx: &Context,
    logits: ArrayView<'a, f32, D>,
    target: impl Into<Target<'a>>,
) -> Answer {
    loss.evaluate_with(ctx, &Tensors::new(logits, target), Want::LOSS | Want::GRAD)
        .unwrap_or_else(|error| panic!("{loss:?}: {error}"))
}

/// The unreduced loss with PyTorch's defaults.
fn unreduced() -> CrossEntropy {
    CrossEntropy::new().reduction(Reduction::None)
}

fn losses(answer: &Answer) -> Vec<f32> {
    answer.loss.iter().flatten().copied().collect()
}

fn grads(answer: &Answer) -> Vec<f32> {
    answer.grad_input.iter().flatten().copied().collect()
}

fn wide(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

/// Equal as numbers (0 is -0), NaN equal to NaN.
fn same(got: &[f32], expected: &[f32]) -> Result<(), String> {
    let equal = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
    let all = got.len() == expected.len() && got.iter().zip(expected).all(equal);
    if all { Ok(()) } else { Err(format!("{got:?}, expected {expected:?}")) }
}

/// Relative error of every element.
fn close(got: &[f32], expected: &[f64], allowed: f64) -> Result<(), String> {
    let near = |(&a, &b): (&f32, &f64)| (f64::from(a) - b).abs() <= allowed * b.abs();
    let all = got.len() == expected.len() && got.iter().zip(expected).all(near);
    if all { Ok(()) } else { Err(format!("{got:?}, expected {expected:?}")) }
}

/// Differences relative to the largest element: where numbers near 1 cancel.
fn near(got: &[f32], expected: &[f64], allowed: f64) -> Result<(), String> {
    let allowed = allowed * largest(expected);
    let all =
        got.len() == expected.len() && got.iter().zip(expected).all(|(&a, b)| (f64::from(a) - b).abs() <= allowed);
    if all { Ok(()) } else { Err(format!("{got:?}, expected {expected:?} +- {allowed:e}")) }
}

/// Ordinary logits, no two rows alike.
fn logits(rows: usize, classes: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, classes), |(n, c)| ((n * 31 + c * 17) % 23) as f32 * 0.5 - 5.5)
}

fn labels(rows: usize, classes: usize) -> Array1<i64> {
    Array1::from_shape_fn(rows, |n| (n * 5 % classes) as i64)
}

// ---- Invariances -------------------------------------------------------------------------------------------------------------

fn few_cases() -> ProptestConfig {
    ProptestConfig {
        cases: 24,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(30),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(few_cases())]

    /// Logits and shift are multiples of 1/16 below 2^17, so that their sum is exact: then not a bit may change.
    #[test]
    fn a_shift_of_all_logits_changes_nothing(
        rows in prop::collection::vec(prop::collection::vec(-256_i16..256, 37), 1..5),
        classes in 1_usize..=37,
        shift in -100_000_i32..100_000,
    ) {
        let at = |shift: f32| {
            Array2::from_shape_fn((rows.len(), classes), |(n, c)| f32::from(rows[n][c]) / 16.0 + shift)
        };
        let target = labels(rows.len(), classes);
        for (place, ctx) in places() {
            for loss in [unreduced(), unreduced().label_smoothing(0.25)] {
                let here = run(&loss, &ctx, at(0.0).view(), target.view());
                let there = run(&loss, &ctx, at(shift as f32).view(), target.view());
                prop_assert_eq!(bits(&here), bits(&there), "{} {:?}", place, loss);
            }
        }
    }

    /// Softmax and target distribution have the same mass, whatever the weights and the smoothing.
    #[test]
    fn gradient_rows_sum_to_zero(rows in 1_usize..6, classes in 1_usize..150, seed in any::<u64>()) {
        for (place, ctx) in places() {
            for (name, loss) in cases::variants(classes).into_iter().filter(|(name, _)| name.starts_with("cross_entropy")) {
                let loss = loss.with_reduction(Reduction::None);
                let tensors = loss.sample(&[rows, classes], seed);
                let grad = loss.evaluate_with(&ctx, &tensors.view(), Want::GRAD).expect("a sample").grad_input;
                for (row, grad) in grad.expect("a gradient").rows().into_iter().enumerate() {
                    let sum: f64 = grad.iter().map(|&g| f64::from(g)).sum();
                    let mass: f64 = grad.iter().map(|&g| f64::from(g).abs()).sum();
                    prop_assert!(sum.abs() <= 1e-6 * mass.max(1.0), "{} {} row {}: {:e} of {:e}", place, name, row, sum, mass);
                }
            }
        }
    }
}

#[test]
fn equal_logits_anywhere_give_the_logarithm_of_the_number_of_classes() {
    table(|rows| {
        for (place, ctx) in places() {
            for classes in [2, 10, 33, 1000] {
                for level in [0.0_f32, 1e8, -1e8, 3e38, -3e38, 1e-40] {
                    let answer =
                        run(&unreduced(), &ctx, Array2::from_elem((1, classes), level).view(), array![1_i64].view());
                    let name = format!("{place} C = {classes} at {level:e}");
                    rows.row(&name, close(&losses(&answer), &[(classes as f64).ln()], 2e-6));
                    let p = 1.0 / classes as f64;
                    let expected: Vec<f64> = (0..classes).map(|c| if c == 1 { p - 1.0 } else { p }).collect();
                    rows.row(&name, close(&grads(&answer), &expected, 2e-6));
                }
            }
        }
    });
}

/// Weights of the targets that count, where they are class indices; rows, where they are probabilities.
#[test]
fn the_mean_is_the_sum_over_its_denominator() {
    let weight = [0.5_f32, 2.0, 0.0, 1.25];
    let target = array![0_i64, 1, -100, 3, 1, 2, 0];
    let denominator = 0.5 + 2.0 + 1.25 + 2.0 + 0.0 + 0.5;
    let x = logits(7, 4);
    let probabilities = x.mapv(|v| (v + 6.0) / 44.0);
    let losses_of = [
        ("cross_entropy", Box::new(CrossEntropy::new().weight(weight)) as Box<dyn Loss>),
        ("smoothed", Box::new(CrossEntropy::new().weight(weight).label_smoothing(0.2))),
        ("nll_loss", Box::new(Nll::new().weight(weight))),
    ];
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss) in &losses_of {
                let mut targets: Vec<(Target<'_>, f64)> = vec![(target.view().into(), denominator)];
                if *name != "nll_loss" {
                    targets.push((probabilities.view().into(), 7.0));
                }
                for (target, denominator) in targets {
                    let name = format!("{place} {name} {:?}", target.kind());
                    let mean = run(&*loss.with_reduction(Reduction::Mean), &ctx, x.view(), target.clone());
                    let sum = run(&*loss.with_reduction(Reduction::Sum), &ctx, x.view(), target.clone());
                    let none = run(&*loss.with_reduction(Reduction::None), &ctx, x.view(), target);
                    let total: f64 = losses(&none).iter().map(|&l| f64::from(l)).sum();
                    rows.row(format!("{name} sum"), close(&losses(&sum), &[total], 2e-7));
                    rows.row(format!("{name} mean"), close(&losses(&mean), &[total / denominator], 4e-7));
                    let unreduced: Vec<f64> = grads(&none).into_iter().map(f64::from).collect();
                    let shared: Vec<f64> = unreduced.iter().map(|g| g / denominator).collect();
                    rows.row(format!("{name} sum's gradient"), close(&grads(&sum), &unreduced, 0.0));
                    rows.row(format!("{name} mean's gradient"), near(&grads(&mean), &shared, 4e-7));
                }
            }
        }
    });
}

/// A gradient is linear in grad_output: exactly so for powers of two.
#[test]
fn grad_output_multiplies_the_gradient() {
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss) in cases::variants(6) {
                let mut tensors = loss.sample(&[5, 6], 4);
                for (reduction, loss) in cases::reductions(&*loss, &tensors) {
                    let want = cases::everything(&*loss, &tensors);
                    let shape = cases::loss_shape(&*loss, &tensors).expect("a sample");
                    let mut gradients = |upstream: Option<f32>| {
                        tensors.grad_output = upstream.map(|g| ArrayD::from_elem(shape.clone(), g));
                        let answer = loss.evaluate_with(&ctx, &tensors.view(), want).expect("a sample");
                        [answer.grad_input, answer.grad_input2, answer.grad_target]
                            .into_iter()
                            .flatten()
                            .flatten()
                            .collect::<Vec<f32>>()
                    };
                    let plain = gradients(None);
                    let twice: Vec<f32> = plain.iter().map(|g| 4.0 * g).collect();
                    let name = format!("{place} {name} {reduction:?}");
                    rows.row(format!("{name} by 1"), same(&gradients(Some(1.0)), &plain));
                    rows.row(format!("{name} by 4"), same(&gradients(Some(4.0)), &twice));
                    rows.row(format!("{name} by 0"), same(&gradients(Some(0.0)), &vec![0.0; plain.len()]));
                }
            }
        }
    });
}

#[test]
fn one_hot_probabilities_are_a_class_index() {
    let (x, t) = (logits(6, 9), labels(6, 9));
    let one_hot = Array2::from_shape_fn((6, 9), |(n, c)| if t[n] == c as i64 { 1.0_f32 } else { 0.0 });
    table(|rows| {
        for (place, ctx) in places() {
            for loss in [
                unreduced(),
                unreduced().label_smoothing(0.3),
                unreduced().weight((1..10).map(|w| w as f32).collect::<Vec<_>>()),
            ] {
                let (hard, soft) = (run(&loss, &ctx, x.view(), t.view()), run(&loss, &ctx, x.view(), one_hot.view()));
                rows.row(format!("{place} {loss:?} loss"), close(&losses(&soft), &wide(losses(&hard)), 2e-5));
                let off =
                    grads(&soft).iter().zip(grads(&hard)).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
                let outcome = if off <= 1e-5 { Ok(()) } else { Err(format!("off by {off:e}")) };
                rows.row(format!("{place} {loss:?} gradient"), outcome);
            }
        }
    });
}

// ---- Layout ------------------------------------------------------------------------------------------------------------------

/// Classes anywhere, read in place: the values of a copy whose classes are axis 1.
#[test]
fn a_class_axis_equals_a_transposed_copy() {
    let x = ArrayD::from_shape_fn(vec![3, 4, 5], |i| ((i[0] * 29 + i[1] * 13 + i[2] * 7) % 19) as f32 * 0.4 - 3.0);
    table(|rows| {
        for (place, ctx) in places() {
            for axis in 0..3 {
                let classes = x.shape()[axis];
                let t = x.map_axis(Axis(axis), |row| (row[0].abs() * 10.0) as i64 % classes as i64);
                // The other axes keep their order, so a row has the same number in both.
                let order = match axis {
                    0 => [1, 0, 2],
                    1 => [0, 1, 2],
                    _ => [0, 2, 1],
                };
                let copy = x.view().permuted_axes(order.to_vec()).as_standard_layout().into_owned();
                let loss = unreduced().label_smoothing(0.1).weight((1..=classes).map(|w| w as f32).collect::<Vec<_>>());
                let direct = run(&loss.clone().class_axis(axis), &ctx, x.view(), t.view());
                let copied = run(&loss, &ctx, copy.view(), t.view());
                let name = format!("{place} axis {axis}");
                rows.row(format!("{name} loss"), close(&losses(&direct), &wide(losses(&copied)), 1e-6));
                let grad = direct.grad_input.expect("a gradient").permuted_axes(order.to_vec());
                let grad: Vec<f32> = grad.into_iter().collect();
                rows.row(format!("{name} gradient"), near(&grad, &wide(grads(&copied)), 1e-6));
            }
        }
    });
}

/// Views with any strides, negative ones too, are read as what they show.
#[test]
fn strided_views_equal_their_copies() {
    let (wide, t) = (logits(12, 20), labels(12, 5));
    table(|rows| {
        for (place, ctx) in places() {
            let view = wide.slice(s![..;-2, 3..18;3]);
            let targets = t.slice(s![..;2]);
            let (view_copy, target_copy) = (view.as_standard_layout().into_owned(), targets.to_owned());
            let (a, b) =
                (run(&unreduced(), &ctx, view, targets), run(&unreduced(), &ctx, view_copy.view(), target_copy.view()));
            rows.row(format!("{place} slices"), if bits(&a) == bits(&b) { Ok(()) } else { Err("differ".into()) });
            let copy = wide.t().as_standard_layout().into_owned();
            let many = labels(20, 12);
            let (a, b) =
                (run(&unreduced(), &ctx, wide.t(), many.view()), run(&unreduced(), &ctx, copy.view(), many.view()));
            rows.row(format!("{place} transposed"), if bits(&a) == bits(&b) { Ok(()) } else { Err("differ".into()) });
        }
    });
}

#[test]
fn labels_of_every_integer_type_are_the_same_labels() {
    let (x, t) = (logits(6, 5), labels(6, 5));
    table(|rows| {
        for (place, ctx) in places() {
            let expected = bits(&run(&unreduced(), &ctx, x.view(), t.view()));
            let others = [
                ("i32", bits(&run(&unreduced(), &ctx, x.view(), t.mapv(|v| v as i32).view()))),
                ("u8", bits(&run(&unreduced(), &ctx, x.view(), t.mapv(|v| v as u8).view()))),
                ("u32", bits(&run(&unreduced(), &ctx, x.view(), t.mapv(|v| v as u32).view()))),
                ("usize", bits(&run(&unreduced(), &ctx, x.view(), t.mapv(|v| v as usize).view()))),
            ];
            for (name, got) in others {
                rows.row(format!("{place} {name}"), if got == expected { Ok(()) } else { Err("differs".into()) });
            }
        }
    });
}

// ---- Confident rows ----------------------------------------------------------------------------------------------------------

/// The label leads by a margin: the loss is log1p(s), its gradient -s / (1 + s), with s the sum of the others' exponentials.
/// Both are tiny, and right to 2e-6 of themselves, where log(1 + s) and p - 1 in f32 would be 0.
#[test]
fn confident_rows_keep_their_digits() {
    table(|rows| {
        for (place, ctx) in places() {
            for classes in [2, 3, 10, 33, 64, 1000] {
                for margin in [1.0_f32, 5.0, 10.0, 15.0, 16.5, 20.0, 30.0, 40.0, 60.0, 75.0, 80.0] {
                    for offset in [0.0_f32, 512.0] {
                        // The others lie up to 3 below the runner-up, in steps that f32 holds exactly.
                        let other = |c: usize| -margin - (c % 7) as f32 * 0.5;
                        let at = classes / 2;
                        let x =
                            Array2::from_shape_fn((1, classes), |(_, c)| offset + if c == at { 0.0 } else { other(c) });
                        let e = |c: usize| f64::from(other(c)).exp();
                        let s: f64 = (0..classes).filter(|&c| c != at).map(e).sum();
                        let gradient = |c: usize| if c == at { -s / (1.0 + s) } else { e(c) / (1.0 + s) };
                        let answer = run(&unreduced(), &ctx, x.view(), array![at as i64].view());
                        let name = format!("{place} C = {classes}, margin {margin}, offset {offset}");
                        rows.row(format!("{name}, loss"), close(&losses(&answer), &[s.ln_1p()], 2e-6));
                        let expected: Vec<f64> = (0..classes).map(gradient).collect();
                        rows.row(format!("{name}, gradient"), close(&grads(&answer), &expected, 2e-6));
                    }
                }
            }
        }
    });
}

/// Confidently wrong: the loss is the margin and what is left over it, the gradient pushes with all its weight.
#[test]
fn confidently_wrong_rows_are_right_too() {
    table(|rows| {
        for (place, ctx) in places() {
            for margin in [10.0_f32, 50.0, 87.0, 200.0, 1e6, 1e30] {
                let answer = run(&unreduced(), &ctx, array![[0.0, margin, 0.0]].view(), array![0_i64].view());
                let s = 2.0 * f64::from(-margin).exp();
                let p = f64::from(-margin).exp() / (1.0 + s);
                rows.row(
                    format!("{place} {margin} loss"),
                    close(&losses(&answer), &[f64::from(margin) + s.ln_1p()], 2e-6),
                );
                let got = grads(&answer);
                // exp(-88) and less is 0.
                let small = if margin < 87.0 {
                    close(&got[2..], &[p], 2e-6)
                } else {
                    same(&[f32::from(got[2] > 2e-38)], &[0.0])
                };
                rows.row(
                    format!("{place} {margin} gradient"),
                    close(&got[..2], &[p - 1.0, 1.0 - 2.0 * p], 2e-6).and(small),
                );
            }
        }
    });
}

// ---- Infinities and NaN ------------------------------------------------------------------------------------------------------

/// One row in particular, and what loss and gradient it must have; exact numbers except where they are a fraction.
#[test]
fn rows_with_infinities_and_nan_are_what_the_documentation_says() {
    let half = [-0.5, 0.5];
    let smooth = || unreduced().label_smoothing(0.1);
    let row = |x: &[f32]| x.to_vec();
    let cases: Vec<(&str, CrossEntropy, Vec<f32>, i64, f32, Option<Vec<f32>>)> = vec![
        ("masked class", unreduced(), row(&[1.0, 1.0, -INF]), 0, 2_f32.ln(), Some([&half[..], &[0.0]].concat())),
        ("only the label is left", unreduced(), row(&[-INF, 4.0, -INF]), 1, 0.0, Some(row(&[0.0, 0.0, 0.0]))),
        ("label on a masked class", unreduced(), row(&[1.0, 1.0, -INF]), 2, INF, Some(row(&[0.5, 0.5, -1.0]))),
        ("all masked", unreduced(), row(&[-INF, -INF]), 0, NAN, Some(row(&[NAN, NAN]))),
        ("NaN elsewhere", unreduced(), row(&[1.0, NAN]), 0, NAN, Some(row(&[NAN, NAN]))),
        ("NaN at the label", unreduced(), row(&[NAN, 1.0]), 0, NAN, Some(row(&[NAN, NAN]))),
        ("+inf elsewhere", unreduced(), row(&[1.0, INF]), 0, NAN, Some(row(&[NAN, NAN]))),
        ("+inf at the label", unreduced(), row(&[INF, 1.0]), 0, NAN, Some(row(&[NAN, NAN]))),
        ("both infinities", unreduced(), row(&[INF, -INF, 0.0]), 2, NAN, Some(row(&[NAN, NAN, NAN]))),
        ("smoothing on a masked class", smooth(), row(&[1.0, 1.0, -INF]), 0, INF, None),
        ("smoothing, all masked", smooth(), row(&[-INF, -INF]), 0, NAN, Some(row(&[NAN, NAN]))),
        ("largest and lowest, right", unreduced(), row(&[3e38, -3e38]), 0, 0.0, Some(row(&[0.0, 0.0]))),
        ("largest and lowest, wrong", unreduced(), row(&[3e38, -3e38]), 1, INF, Some(row(&[1.0, -1.0]))),
        ("two largest", unreduced(), row(&[f32::MAX, f32::MAX]), 0, 2_f32.ln(), Some(half.to_vec())),
        ("two lowest", unreduced(), row(&[f32::MIN, f32::MIN]), 0, 2_f32.ln(), Some(half.to_vec())),
        ("lowest beside masked", unreduced(), row(&[f32::MIN, -INF]), 0, 0.0, Some(row(&[0.0, 0.0]))),
        ("half the largest, wrong", unreduced(), row(&[1.5e38, -1.5e38]), 1, 3e38, Some(row(&[1.0, -1.0]))),
        ("subnormal logits", unreduced(), row(&[1e-40, -1e-40]), 0, 2_f32.ln(), Some(half.to_vec())),
    ];
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss, x, label, expected, grad) in &cases {
                let x = Array2::from_shape_vec((1, x.len()), x.clone()).expect("a row");
                let answer = run(loss, &ctx, x.view(), array![*label].view());
                let rounded = |got: &[f32], expected: &[f32]| {
                    let finite = |v: &f32| if v.is_finite() { (v * 1e6).round() / 1e6 } else { *v };
                    let ordinary = expected.iter().all(|v| !v.is_finite() || v.abs() < 10.0);
                    let (a, b): (Vec<f32>, Vec<f32>) = if ordinary {
                        (got.iter().map(finite).collect(), expected.iter().map(finite).collect())
                    } else {
                        (got.to_vec(), expected.to_vec())
                    };
                    same(&a, &b)
                };
                rows.row(format!("{place} {name}, loss"), rounded(&losses(&answer), &[*expected]));
                if let Some(grad) = grad {
                    rows.row(format!("{place} {name}, gradient"), rounded(&grads(&answer), grad));
                }
            }
        }
    });
}

/// Weight 0 on a masked class that the target spreads to: 0 times infinity makes the loss NaN, the gradient stays what the
/// other classes make it.
#[test]
fn weight_zero_on_a_masked_class_leaves_the_gradient_alone() {
    let smooth = unreduced().label_smoothing(0.3).weight([1.0, 1.0, 0.0]);
    let hard = unreduced().weight([1.0, 1.0, 0.0]);
    table(|rows| {
        for (place, ctx) in places() {
            let answer = run(&smooth, &ctx, array![[1.0, 1.0, -INF]].view(), array![0_i64].view());
            rows.row(format!("{place} smoothing, loss"), same(&losses(&answer), &[NAN]));
            // A = 0.7 + 2 * 0.1; A / 2 - 0.8 and A / 2 - 0.1.
            let got = grads(&answer);
            rows.row(
                format!("{place} smoothing, gradient"),
                close(&got[..2], &[-0.35, 0.35], 2e-6).and(same(&got[2..], &[0.0])),
            );
            let answer = run(&hard, &ctx, array![[1.0, 2.0, -INF]].view(), array![2_i64].view());
            rows.row(format!("{place} class index, loss"), same(&losses(&answer), &[NAN]));
            rows.row(format!("{place} class index, gradient"), same(&grads(&answer), &[0.0; 3]));
        }
    });
}

/// A row of NaN, of infinities or of nothing but -inf: every other row has the bits that it has without it.
#[test]
fn a_bad_row_touches_no_other() {
    const BAD: [f32; 3] = [NAN, INF, -INF];
    table(|rows| {
        for (place, ctx) in places() {
            for shape in [[9, 5], [4, 64]] {
                for (name, loss) in
                    cases::variants(shape[1]).iter().filter(|(name, _)| name.starts_with("cross_entropy"))
                {
                    let loss = loss.with_reduction(Reduction::None);
                    let clean = loss.sample(&shape, 2);
                    for bad in BAD {
                        let mut spoilt = clean.clone();
                        spoilt.input.index_axis_mut(Axis(0), 2).fill(bad);
                        let want = Want::LOSS | Want::GRAD;
                        let of = |tensors: &OwnedTensors| {
                            loss.evaluate_with(&ctx, &tensors.view(), want).expect("a valid call")
                        };
                        let (before, after) = (of(&clean), of(&spoilt));
                        let others = |answer: &Answer| {
                            let rows = [&answer.loss, &answer.grad_input].into_iter().flatten();
                            rows.flat_map(|part| {
                                part.axis_iter(Axis(0))
                                    .enumerate()
                                    .filter(|(row, _)| *row != 2)
                                    .flat_map(|(_, row)| row.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
                                    .collect::<Vec<_>>()
                            })
                            .collect::<Vec<_>>()
                        };
                        let outcome = if others(&before) == others(&after) {
                            Ok(())
                        } else {
                            Err("another row differs".to_owned())
                        };
                        rows.row(format!("{place} {name} {bad}"), outcome);
                    }
                }
            }
        }
    });
}

/// Masking classes with -inf is leaving them out.
#[test]
fn masked_classes_are_as_if_they_were_not_there() {
    let (x, t) = (logits(8, 40), labels(8, 20));
    table(|rows| {
        for (place, ctx) in places() {
            let mut masked = x.clone();
            masked.slice_mut(s![.., 20..]).fill(-INF);
            let (masked, short) = (
                run(&unreduced(), &ctx, masked.view(), t.view()),
                run(&unreduced(), &ctx, x.slice(s![.., ..20]), t.view()),
            );
            rows.row(format!("{place} loss"), close(&losses(&masked), &wide(losses(&short)), 4e-7));
            let grad =
                masked.grad_input.expect("a gradient").into_dimensionality::<ndarray::Ix2>().expect("two dimensions");
            rows.row(
                format!("{place} gradient"),
                close(&grad.slice(s![.., ..20]).iter().copied().collect::<Vec<_>>(), &wide(grads(&short)), 2e-6),
            );
            rows.row(
                format!("{place} masked gradient"),
                same(&grad.slice(s![.., 20..]).iter().copied().collect::<Vec<_>>(), &[0.0; 160]),
            );
        }
    });
}

/// Unlike PyTorch, where 0 * -inf is NaN.
#[test]
fn target_probability_zero_on_a_masked_class_contributes_nothing() {
    table(|rows| {
        for (place, ctx) in places() {
            let answer = run(&unreduced(), &ctx, array![[1.0, 1.0, -INF]].view(), array![[0.5_f32, 0.5, 0.0]].view());
            rows.row(format!("{place} loss"), close(&losses(&answer), &[2_f64.ln()], 2e-6));
            rows.row(
                format!("{place} gradient"),
                same(&grads(&answer).iter().map(|g| (g * 1e6).round()).collect::<Vec<_>>(), &[0.0; 3]),
            );
            let on_it = run(&unreduced(), &ctx, array![[1.0, 1.0, -INF]].view(), array![[0.5_f32, 0.0, 0.5]].view());
            rows.row(format!("{place} probability on it"), same(&losses(&on_it), &[INF]));
        }
    });
}

// ---- Ignored rows and means over nothing -------------------------------------------------------------------------------------

/// Whatever an ignored row holds, its loss and gradient are 0, and the others' are what they are without it.
#[test]
fn ignored_rows_count_for_nothing_whatever_they_hold() {
    table(|rows| {
        for (place, ctx) in places() {
            for classes in [5, 64] {
                for fill in [0.0, NAN, INF, -INF] {
                    for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
                        for (name, loss) in [
                            (
                                "cross_entropy",
                                Box::new(CrossEntropy::new().label_smoothing(0.1).reduction(reduction))
                                    as Box<dyn Loss>,
                            ),
                            ("nll_loss", Box::new(Nll::new().reduction(reduction))),
                        ] {
                            let (mut x, mut t) = (logits(7, classes), labels(7, classes));
                            for row in [1, 6] {
                                x.row_mut(row).fill(fill);
                                t[row] = -100;
                            }
                            let kept = [0, 2, 3, 4, 5];
                            let answer = run(&*loss, &ctx, x.view(), t.view());
                            let without =
                                run(&*loss, &ctx, x.select(Axis(0), &kept).view(), t.select(Axis(0), &kept).view());
                            let name = format!("{place} {name} {reduction:?} C = {classes}, filled with {fill}");
                            let grad = answer.grad_input.as_ref().expect("a gradient");
                            let ignored: Vec<f32> = grad.select(Axis(0), &[1, 6]).into_iter().collect();
                            rows.row(format!("{name}, ignored"), same(&ignored, &vec![0.0; 2 * classes]));
                            let others: Vec<f32> = grad.select(Axis(0), &kept).into_iter().collect();
                            rows.row(format!("{name}, others"), same(&others, &grads(&without)));
                            let loss: Vec<f32> = match reduction {
                                Reduction::None => {
                                    let all = answer.loss.as_ref().expect("a loss");
                                    rows.row(format!("{name}, ignored loss"), same(&[all[[1]], all[[6]]], &[0.0; 2]));
                                    all.select(Axis(0), &kept).into_iter().collect()
                                }
                                _ => losses(&answer),
                            };
                            let close_enough: Vec<f64> = losses(&without).into_iter().map(f64::from).collect();
                            rows.row(format!("{name}, loss"), close(&loss, &close_enough, 2e-7));
                        }
                    }
                }
            }
        }
    });
}

/// Ignored values: in range, beyond the labels' own range on the GPU (32 bits), several at once, none.
#[test]
fn every_ignore_index_ignores_its_rows() {
    let cases: Vec<(Vec<i64>, Vec<i64>, Vec<bool>)> = vec![
        (vec![-100], vec![0, -100, 2, 1], vec![true, false, true, true]),
        (vec![2], vec![0, 1, 2, 2], vec![true, true, false, false]),
        (vec![0], vec![0, 1, 2, 0], vec![false, true, true, false]),
        (vec![255], vec![0, 255, 2, 1], vec![true, false, true, true]),
        (vec![-1, 1, 7, 255], vec![0, 1, 255, -1], vec![true, false, false, false]),
        (vec![1 << 40], vec![0, 1 << 40, 2, 1], vec![true, false, true, true]),
        (vec![-(1 << 40), i64::MAX], vec![i64::MAX, 1, 2, -(1 << 40)], vec![false, true, true, false]),
        (vec![i64::MIN, 1], vec![1, 0, i64::MIN, 2], vec![false, true, false, true]),
        (vec![i64::from(i32::MIN)], vec![1, i64::from(i32::MIN), 0, 2], vec![true, false, true, true]),
        (vec![], vec![0, 1, 2, 1], vec![true; 4]),
    ];
    table(|rows| {
        for (place, ctx) in places() {
            for (ignored, target, counts) in &cases {
                let t = Array1::from_vec(target.clone());
                let x = logits(4, 3);
                let both: [Box<dyn Loss>; 2] = [
                    Box::new(unreduced().ignore_indices(ignored.clone())),
                    Box::new(Nll::new().reduction(Reduction::None).ignore_indices(ignored.clone())),
                ];
                for loss in both {
                    let answer = run(&*loss, &ctx, x.view(), t.view());
                    let grad = answer.grad_input.as_ref().expect("a gradient");
                    let got: Vec<bool> = grad.axis_iter(Axis(0)).map(|row| row.iter().any(|&g| g != 0.0)).collect();
                    let outcome = if got == *counts { Ok(()) } else { Err(format!("rows {got:?} count")) };
                    rows.row(format!("{place} {} {ignored:?} {target:?}", loss.info().name), outcome);
                    let mean = run(&*loss.with_reduction(Reduction::Mean), &ctx, x.view(), t.view());
                    let number = counts.iter().filter(|&&counts| counts).count() as f64;
                    let expected: f64 = losses(&answer).iter().map(|&l| f64::from(l)).sum::<f64>() / number;
                    rows.row(format!("{place} mean {ignored:?}"), close(&losses(&mean), &[expected], 4e-7));
                }
            }
        }
    });
}

#[test]
fn a_mean_over_nothing_is_nan_or_what_was_chosen() {
    let ignored = array![-100_i64, -100];
    let empty = (Array2::<f32>::zeros((0, 3)), Array1::<i64>::zeros(0));
    table(|rows| {
        for (place, ctx) in places() {
            for (reduction, chosen, expected) in [
                (Reduction::Mean, None, NAN),
                (Reduction::Mean, Some(0.0), 0.0),
                (Reduction::Mean, Some(-2.5), -2.5),
                (Reduction::Sum, None, 0.0),
                (Reduction::Sum, Some(1.0), 0.0),
            ] {
                let ce = chosen.map_or(CrossEntropy::new(), |v| CrossEntropy::new().on_empty(v)).reduction(reduction);
                let nll = chosen.map_or(Nll::new(), |v| Nll::new().on_empty(v)).reduction(reduction);
                for loss in [&ce as &dyn Loss, &nll] {
                    let name = format!("{place} {} {reduction:?} on_empty {chosen:?}", loss.info().name);
                    let all_ignored = run(loss, &ctx, logits(2, 3).view(), ignored.view());
                    rows.row(format!("{name}, all ignored"), same(&losses(&all_ignored), &[expected]));
                    rows.row(format!("{name}, all ignored, gradient"), same(&grads(&all_ignored), &[0.0; 6]));
                    let none_at_all = run(loss, &ctx, empty.0.view(), empty.1.view());
                    rows.row(format!("{name}, N = 0"), same(&losses(&none_at_all), &[expected]));
                    rows.row(format!("{name}, N = 0, gradient"), same(&grads(&none_at_all), &[]));
                }
            }
            let none = run(&unreduced(), &ctx, empty.0.view(), empty.1.view());
            rows.row(format!("{place} None, N = 0"), same(&losses(&none), &[]));
        }
    });
}

/// PyTorch: 0 / 0, and a gradient of 0 / 0. Ignored rows keep their gradient of 0.
#[test]
fn weights_that_sum_to_zero_make_the_mean_nan() {
    table(|rows| {
        for (place, ctx) in places() {
            let losses_of: [Box<dyn Loss>; 2] =
                [Box::new(CrossEntropy::new().weight([1.0, 0.0])), Box::new(Nll::new().weight([1.0, 0.0]))];
            for loss in losses_of {
                let name = format!("{place} {}", loss.info().name);
                let x = array![[1.0_f32, 2.0], [0.5, 0.0], [3.0, 3.0]];
                let t = array![1_i64, 1, -100];
                let mean = run(&*loss, &ctx, x.view(), t.view());
                rows.row(format!("{name}, mean"), same(&losses(&mean), &[NAN]));
                let got = grads(&mean);
                rows.row(format!("{name}, gradient at the label"), same(&[got[1], got[3]], &[NAN; 2]));
                rows.row(format!("{name}, ignored row"), same(&got[4..], &[0.0; 2]));
                let sum = run(&*loss.with_reduction(Reduction::Sum), &ctx, x.view(), t.view());
                rows.row(format!("{name}, sum"), same(&losses(&sum), &[0.0]));
                rows.row(format!("{name}, sum's gradient"), same(&grads(&sum), &[0.0; 6]));
            }
        }
    });
}

/// With one class there is nothing to learn.
#[test]
fn one_class_has_loss_zero_and_gradient_zero() {
    table(|rows| {
        for (place, ctx) in places() {
            for x in [0.0_f32, 5.5, -3e38, 1e-40] {
                let logits = Array2::from_elem((3, 1), x);
                for loss in [unreduced(), unreduced().label_smoothing(0.4)] {
                    let answer = run(&loss, &ctx, logits.view(), array![0_i64, 0, -100].view());
                    let name = format!("{place} {x:e} {loss:?}");
                    rows.row(format!("{name}, loss"), same(&losses(&answer), &[0.0; 3]));
                    rows.row(
                        format!("{name}, gradient"),
                        same(&grads(&answer).iter().map(|g| (g * 1e6).round()).collect::<Vec<_>>(), &[0.0; 3]),
                    );
                }
            }
            let single = run(&CrossEntropy::new(), &ctx, array![0.5_f32, 1.5].view(), ndarray::arr0(1_i64).view());
            rows.row(format!("{place} shape (C)"), close(&losses(&single), &[(-1_f64).exp().ln_1p()], 2e-6));
        }
    });
}

/// Negative log-likelihood reads the label's element and nothing else.
#[test]
fn nll_loss_reads_only_the_labels_element() {
    let x = array![[NAN, -1.5, INF], [-0.25, NAN, NAN], [-INF, 0.0, 1.0]];
    table(|rows| {
        for (place, ctx) in places() {
            let loss = Nll::new().weight([1.0, 2.0, 4.0]).reduction(Reduction::None);
            let answer = run(&loss, &ctx, x.view(), array![1_i64, 0, 0].view());
            rows.row(format!("{place} loss"), same(&losses(&answer), &[3.0, 0.25, INF]));
            rows.row(
                format!("{place} gradient"),
                same(&grads(&answer), &[0.0, -2.0, 0.0, -1.0, 0.0, 0.0, -1.0, 0.0, 0.0]),
            );
            let nan = run(&loss, &ctx, x.view(), array![0_i64, 2, 1].view());
            rows.row(format!("{place} NaN"), same(&losses(&nan), &[NAN, NAN, 0.0]));
        }
    });
}

/// The target's gradient, (1 - e) w_c (lse - x_c), where probabilities are the target.
#[test]
fn the_gradient_of_target_probabilities_is_minus_the_log_softmax() {
    let x = array![[0.0_f32, 1.0, 2.0], [30.0, 0.0, -30.0]];
    let y = array![[0.25_f32, 0.25, 0.5], [1.0, 0.0, 0.0]];
    let weight = [1.0_f32, 2.0, 0.5];
    table(|rows| {
        for (place, ctx) in places() {
            let loss = unreduced().label_smoothing(0.25).weight(weight);
            let tensors = OwnedTensors::new(x.clone().into_dyn(), OwnedTarget::Values(y.clone().into_dyn()));
            let answer = loss.evaluate_with(&ctx, &tensors.view(), Want::GRAD_TARGET).expect("a valid call");
            let expected: Vec<f64> = x
                .rows()
                .into_iter()
                .flat_map(|row| {
                    let m = f64::from(row.iter().copied().fold(-INF, f32::max));
                    let lse = m + row.iter().map(|&v| (f64::from(v) - m).exp()).sum::<f64>().ln();
                    row.iter().zip(weight).map(|(&v, w)| 0.75 * f64::from(w) * (lse - f64::from(v))).collect::<Vec<_>>()
                })
                .collect();
            let got: Vec<f32> = answer.grad_target.iter().flatten().copied().collect();
            rows.row(place, near(&got, &expected, 2e-7));
        }
    });
}
