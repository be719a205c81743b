//! Proves what mathematics says must hold, without a reference: invariances, linearity, layouts, and the digits of
//! confident rows, on the GPU and on the CPU.

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{CrossEntropy, Evaluate, Loss, Nll, Reduction, Target, Want};
use ndarray::{Array2, ArrayD, Axis, array, s};
use proptest::prelude::*;

use crate::support::compare::bits;
use crate::support::values::{close, grads, labels, logits, losses, near, run, same, unreduced, wide};
use crate::support::{cases, ensure, places, table};

// ---- Invariances ----------------------------------------------------------------------------------------------------

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
            for loss in [unreduced(), unreduced().label_smoothing(0.25), unreduced().temperature(1.7)] {
                let here = run(&loss, &ctx, at(0.0).view(), target.view());
                let there = run(&loss, &ctx, at(shift as f32).view(), target.view());
                prop_assert_eq!(bits(&here), bits(&there), "{} {:?}", place, loss);
            }
        }
    }

    /// Softmax and target distribution have the same mass, whatever weights, smoothing and temperature. (Not so with a
    /// softcap or a z-loss: their derivatives differ from class to class, or add up.)
    #[test]
    fn gradient_rows_sum_to_zero(
        rows in 1_usize..6,
        classes in prop::sample::select(vec![1_usize, 2, 7, 33, 64, 149]),
        seed in any::<u64>(),
    ) {
        for (place, ctx) in places() {
            let variants = cases::variants(classes).into_iter();
            for (name, loss) in variants.filter(|(name, _)| name.starts_with("cross_entropy")) {
                let loss = loss.with_reduction(Reduction::None);
                let tensors = loss.example_inputs(&[rows, classes], seed);
                if ["CAPPED", "Z_LOSS"].into_iter().any(|flag| cases::has_flag(&*loss, &tensors, flag)) {
                    continue;
                }
                let grad = loss.evaluate(&ctx, &tensors.view().wants(Want::GRAD)).expect("a sample").grad_input;
                for (row, grad) in grad.expect("a gradient").rows().into_iter().enumerate() {
                    let sum: f64 = grad.iter().map(|&g| f64::from(g)).sum();
                    let mass: f64 = grad.iter().map(|&g| f64::from(g).abs()).sum();
                    let near = sum.abs() <= 1e-6 * mass.max(1.0);
                    prop_assert!(near, "{} {} row {}: {:e} of {:e}", place, name, row, sum, mass);
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
                    let output =
                        run(&unreduced(), &ctx, Array2::from_elem((1, classes), level).view(), array![1_i64].view());
                    let name = format!("{place} C = {classes} at {level:e}");
                    rows.row(&name, close(&losses(&output), &[(classes as f64).ln()], 2e-6));
                    let p = 1.0 / classes as f64;
                    let expected: Vec<f64> = (0..classes).map(|c| if c == 1 { p - 1.0 } else { p }).collect();
                    rows.row(&name, close(&grads(&output), &expected, 2e-6));
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
            for (name, loss) in cases::fullest(37) {
                let mut tensors = loss.example_inputs(&[5, 37], 4);
                for reduction in [Reduction::None, Reduction::Mean] {
                    let loss = loss.with_reduction(reduction);
                    let want = cases::everything(&*loss, &tensors);
                    let shape = cases::loss_shape(&*loss, &tensors).expect("a sample");
                    let mut gradients = |upstream: Option<f32>| {
                        tensors.grad_output = upstream.map(|g| ArrayD::from_elem(shape.clone(), g));
                        let output = loss.evaluate(&ctx, &tensors.view().wants(want)).expect("a sample");
                        [output.grad_input, output.grad_input2, output.grad_target]
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
                let outcome = ensure(off <= 1e-5, || format!("off by {off:e}"));
                rows.row(format!("{place} {loss:?} gradient"), outcome);
            }
        }
    });
}

// ---- Layout ---------------------------------------------------------------------------------------------------------

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
            rows.row(format!("{place} slices"), ensure(bits(&a) == bits(&b), || "differ"));
            let copy = wide.t().as_standard_layout().into_owned();
            let many = labels(20, 12);
            let (a, b) =
                (run(&unreduced(), &ctx, wide.t(), many.view()), run(&unreduced(), &ctx, copy.view(), many.view()));
            rows.row(format!("{place} transposed"), ensure(bits(&a) == bits(&b), || "differ"));
        }
    });
}

// ---- Confident rows -------------------------------------------------------------------------------------------------

/// The label leads by a margin: the loss is log1p(s), its gradient -s / (1 + s), with s the sum of the others'
/// exponentials. Both are tiny, and right to 2e-6 of themselves, where log(1 + s) and p - 1 in f32 would be 0.
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
                        let output = run(&unreduced(), &ctx, x.view(), array![at as i64].view());
                        let name = format!("{place} C = {classes}, margin {margin}, offset {offset}");
                        rows.row(format!("{name}, loss"), close(&losses(&output), &[s.ln_1p()], 2e-6));
                        let expected: Vec<f64> = (0..classes).map(gradient).collect();
                        rows.row(format!("{name}, gradient"), close(&grads(&output), &expected, 2e-6));
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
                let output = run(&unreduced(), &ctx, array![[0.0, margin, 0.0]].view(), array![0_i64].view());
                let s = 2.0 * f64::from(-margin).exp();
                let p = f64::from(-margin).exp() / (1.0 + s);
                rows.row(
                    format!("{place} {margin} loss"),
                    close(&losses(&output), &[f64::from(margin) + s.ln_1p()], 2e-6),
                );
                let got = grads(&output);
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
            let output = loss.evaluate(&ctx, &tensors.view().wants(Want::GRAD_TARGET)).expect("a valid call");
            let expected: Vec<f64> = x
                .rows()
                .into_iter()
                .flat_map(|row| {
                    let m = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
                    let lse = m + row.iter().map(|&v| (f64::from(v) - m).exp()).sum::<f64>().ln();
                    row.iter().zip(weight).map(|(&v, w)| 0.75 * f64::from(w) * (lse - f64::from(v))).collect::<Vec<_>>()
                })
                .collect();
            let got: Vec<f32> = output.grad_target.iter().flatten().copied().collect();
            rows.row(place, near(&got, &expected, 2e-7));
        }
    });
}
