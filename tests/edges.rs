//! Proves the documented edges of cross-entropy and negative log-likelihood, on the GPU and on the CPU: infinities and
//! NaN, ignored rows, means of empty batches, weights of 0, a single class; of losses over rows, a single row.

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{CrossEntropy, Evaluate, Loss, MultiLabelMargin, MultiMargin, Nll, Output, Reduction, Tensors};
use ndarray::{Array1, Array2, Axis, arr0, array, s};

use crate::support::values::{close, grads, labels, logits, losses, run, same, unreduced, wide};
use crate::support::{cases, ensure, places, table};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

// ---- Infinities and NaN ---------------------------------------------------------------------------------------------

/// One row in particular, and what loss and gradient it must have; exact numbers except where they are a fraction.
#[test]
fn rows_with_infinities_and_nan_are_what_the_documentation_says() {
    let half = [-0.5, 0.5];
    let smooth = || unreduced().label_smoothing(0.1);
    let row = |x: &[f32]| x.to_vec();
    // Name, loss, logits, class index, expected loss, expected gradient.
    type Case = (&'static str, CrossEntropy, Vec<f32>, i64, f32, Option<Vec<f32>>);
    let cases: Vec<Case> = vec![
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
        ("half the largest, wrong", unreduced(), row(&[1.5e38, -1.5e38]), 1, 3e38, Some(row(&[1.0, -1.0]))),
        ("subnormal logits", unreduced(), row(&[1e-40, -1e-40]), 0, 2_f32.ln(), Some(half.to_vec())),
    ];
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss, x, label, expected, grad) in &cases {
                let x = Array2::from_shape_vec((1, x.len()), x.clone()).expect("a row");
                let output = run(loss, &ctx, x.view(), array![*label].view());
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
                rows.row(format!("{place} {name}, loss"), rounded(&losses(&output), &[*expected]));
                if let Some(grad) = grad {
                    rows.row(format!("{place} {name}, gradient"), rounded(&grads(&output), grad));
                }
            }
        }
    });
}

/// Weight 0 on a masked class that the target spreads to: 0 times infinity makes the loss NaN, the gradient stays what
/// the other classes make it.
#[test]
fn weight_zero_on_a_masked_class_leaves_the_gradient_alone() {
    let smooth = unreduced().label_smoothing(0.3).weight([1.0, 1.0, 0.0]);
    let hard = unreduced().weight([1.0, 1.0, 0.0]);
    table(|rows| {
        for (place, ctx) in places() {
            let output = run(&smooth, &ctx, array![[1.0, 1.0, -INF]].view(), array![0_i64].view());
            rows.row(format!("{place} smoothing, loss"), same(&losses(&output), &[NAN]));
            // A = 0.7 + 2 * 0.1; A / 2 - 0.8 and A / 2 - 0.1.
            let got = grads(&output);
            rows.row(
                format!("{place} smoothing, gradient"),
                close(&got[..2], &[-0.35, 0.35], 2e-6).and(same(&got[2..], &[0.0])),
            );
            let output = run(&hard, &ctx, array![[1.0, 2.0, -INF]].view(), array![2_i64].view());
            rows.row(format!("{place} class index, loss"), same(&losses(&output), &[NAN]));
            rows.row(format!("{place} class index, gradient"), same(&grads(&output), &[0.0; 3]));
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
                    let clean = loss.example_inputs(&shape, 2);
                    for bad in BAD {
                        let mut corrupt = clean.clone();
                        corrupt.input.index_axis_mut(Axis(0), 2).fill(bad);
                        let of = |tensors: &OwnedTensors| loss.evaluate(&ctx, &tensors.view()).expect("a valid call");
                        let (before, after) = (of(&clean), of(&corrupt));
                        let others = |output: &Output| {
                            let rows = [&output.loss, &output.grad_input].into_iter().flatten();
                            rows.flat_map(|part| {
                                part.axis_iter(Axis(0))
                                    .enumerate()
                                    .filter(|(row, _)| *row != 2)
                                    .flat_map(|(_, row)| row.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
                                    .collect::<Vec<_>>()
                            })
                            .collect::<Vec<_>>()
                        };
                        let outcome = ensure(others(&before) == others(&after), || "another row differs");
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
            let output = run(&unreduced(), &ctx, array![[1.0, 1.0, -INF]].view(), array![[0.5_f32, 0.5, 0.0]].view());
            rows.row(format!("{place} loss"), close(&losses(&output), &[2_f64.ln()], 2e-6));
            rows.row(
                format!("{place} gradient"),
                same(&grads(&output).iter().map(|g| (g * 1e6).round()).collect::<Vec<_>>(), &[0.0; 3]),
            );
            let on_it = run(&unreduced(), &ctx, array![[1.0, 1.0, -INF]].view(), array![[0.5_f32, 0.0, 0.5]].view());
            rows.row(format!("{place} probability on it"), same(&losses(&on_it), &[INF]));
        }
    });
}

// ---- Ignored rows and empty batches ---------------------------------------------------------------------------------

/// Whatever an ignored row holds, its loss and gradient are 0, and the others' are what they are without it.
#[test]
fn ignored_rows_have_no_part_in_the_result_whatever_they_hold() {
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
                            let output = run(&*loss, &ctx, x.view(), t.view());
                            let without =
                                run(&*loss, &ctx, x.select(Axis(0), &kept).view(), t.select(Axis(0), &kept).view());
                            let name = format!("{place} {name} {reduction:?} C = {classes}, filled with {fill}");
                            let grad = output.grad_input.as_ref().expect("a gradient");
                            let ignored: Vec<f32> = grad.select(Axis(0), &[1, 6]).into_iter().collect();
                            rows.row(format!("{name}, ignored"), same(&ignored, &vec![0.0; 2 * classes]));
                            let others: Vec<f32> = grad.select(Axis(0), &kept).into_iter().collect();
                            rows.row(format!("{name}, others"), same(&others, &grads(&without)));
                            let loss: Vec<f32> = match reduction {
                                Reduction::None => {
                                    let all = output.loss.as_ref().expect("a loss");
                                    rows.row(format!("{name}, ignored loss"), same(&[all[[1]], all[[6]]], &[0.0; 2]));
                                    all.select(Axis(0), &kept).into_iter().collect()
                                }
                                _ => losses(&output),
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
                    let output = run(&*loss, &ctx, x.view(), t.view());
                    let grad = output.grad_input.as_ref().expect("a gradient");
                    let got: Vec<bool> = grad.axis_iter(Axis(0)).map(|row| row.iter().any(|&g| g != 0.0)).collect();
                    let outcome = ensure(got == *counts, || format!("rows {got:?} count"));
                    rows.row(format!("{place} {} {ignored:?} {target:?}", loss.info().name), outcome);
                    let mean = run(&*loss.with_reduction(Reduction::Mean), &ctx, x.view(), t.view());
                    let number = counts.iter().filter(|&&counts| counts).count() as f64;
                    let expected: f64 = losses(&output).iter().map(|&l| f64::from(l)).sum::<f64>() / number;
                    rows.row(format!("{place} mean {ignored:?}"), close(&losses(&mean), &[expected], 4e-7));
                }
            }
        }
    });
}

#[test]
fn the_mean_of_an_empty_batch_is_nan_or_what_was_chosen() {
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

/// 0 / 0, and a gradient of 0 / 0, as in PyTorch, unless a value was chosen. Ignored rows keep their gradient of 0.
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
            // Rows that lose something all the same. PyTorch divides by 0 and has an infinity.
            let (x, t) = (array![[1.0_f32, 2.0], [0.5, 0.0]], array![1_i64, 1]);
            let lost = [
                CrossEntropy::new().weight([1.0, 0.0]).label_smoothing(0.1),
                CrossEntropy::new().weight([1.0, 0.0]).z_loss(0.1),
            ];
            for loss in lost {
                let mean = run(&loss, &ctx, x.view(), t.view());
                rows.row(format!("{place} {loss:?}"), same(&losses(&mean), &[NAN]));
                rows.row(format!("{place} {loss:?}, gradient"), same(&grads(&mean), &[NAN; 4]));
            }
            // A value of the caller's choice takes their place.
            let chosen = CrossEntropy::new().weight([1.0, 0.0]).z_loss(-0.1).on_empty(0.5);
            let mean = run(&chosen, &ctx, x.view(), t.view());
            rows.row(format!("{place} {chosen:?}"), same(&losses(&mean), &[0.5]));
            rows.row(format!("{place} {chosen:?}, gradient"), same(&grads(&mean), &[0.0; 4]));
            let cancel = CrossEntropy::new().weight([1.0, -1.0]);
            for (name, x) in [("finite", x), ("infinite", array![[f32::NEG_INFINITY, 2.0], [0.5, 0.0]])] {
                let mean = run(&cancel, &ctx, x.view(), array![0_i64, 1].view());
                rows.row(format!("{place} weights that cancel, {name}"), same(&losses(&mean), &[NAN]));
                rows.row(format!("{place} weights that cancel, {name}, gradient"), same(&grads(&mean), &[NAN; 4]));
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
                    let output = run(&loss, &ctx, logits.view(), array![0_i64, 0, -100].view());
                    let name = format!("{place} {x:e} {loss:?}");
                    rows.row(format!("{name}, loss"), same(&losses(&output), &[0.0; 3]));
                    rows.row(
                        format!("{name}, gradient"),
                        same(&grads(&output).iter().map(|g| (g * 1e6).round()).collect::<Vec<_>>(), &[0.0; 3]),
                    );
                }
            }
            let single = run(&CrossEntropy::new(), &ctx, array![0.5_f32, 1.5].view(), arr0(1_i64).view());
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
            let output = run(&loss, &ctx, x.view(), array![1_i64, 0, 0].view());
            rows.row(format!("{place} loss"), same(&losses(&output), &[3.0, 0.25, INF]));
            rows.row(
                format!("{place} gradient"),
                same(&grads(&output), &[0.0, -2.0, 0.0, -1.0, 0.0, 0.0, -1.0, 0.0, 0.0]),
            );
            let nan = run(&loss, &ctx, x.view(), array![0_i64, 2, 1].view());
            rows.row(format!("{place} NaN"), same(&losses(&nan), &[NAN, NAN, 0.0]));
        }
    });
}

/// A number is a row of one class, and has the loss of a row of shape (1).
#[test]
fn logits_of_no_dimension_are_one_class() {
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss) in cases::fullest(1) {
                for reduction in [Reduction::None, Reduction::Mean] {
                    let loss = loss.with_reduction(reduction);
                    let Some(tensors) = cases::example_inputs(&*loss, &[1, 1], 4) else { continue };
                    if !cases::has_rows(&*loss, &tensors) || format!("{loss:?}").contains("class_axis: Some") {
                        continue;
                    }
                    let as_number = |values: &ndarray::ArrayD<f32>| arr0(values[[0, 0]]).into_dyn();
                    let target = match &tensors.target {
                        OwnedTarget::Indices(labels) => {
                            OwnedTarget::Indices(arr0(*labels.first().expect("a label")).into_dyn())
                        }
                        OwnedTarget::Values(values) => OwnedTarget::Values(as_number(values)),
                    };
                    let number = OwnedTensors::new(as_number(&tensors.input), target);
                    let of = |tensors: &OwnedTensors| loss.evaluate(&ctx, &tensors.view()).map_err(|e| e.to_string());
                    let outcome = of(&number).and_then(|got| {
                        let shapes = [&got.loss, &got.grad_input].map(|part| part.as_ref().map(|part| part.ndim()));
                        let row = of(&tensors)?;
                        same(&losses(&got), &losses(&row))?;
                        same(&grads(&got), &grads(&row))?;
                        ensure(shapes == [Some(0); 2], || format!("dimensions {shapes:?}"))
                    });
                    rows.row(format!("{place} {name} {reduction:?}"), outcome);
                }
            }
        }
    });
}

/// One row of scores, and its target with a dimension of size 1 more or less, as PyTorch's margin losses take it.
#[test]
fn the_target_of_a_single_row_of_margin_losses_may_have_one_dimension() {
    let none = Reduction::None;
    let (x, one) = (array![0.5_f32, 0.25, -1.0], arr0(0.5_f32));
    table(|rows| {
        for (place, ctx) in places() {
            let margin = MultiMargin::new().reduction(none);
            let (plain, with_axis) =
                (run(&margin, &ctx, x.view(), arr0(0_i64).view()), run(&margin, &ctx, x.view(), array![0_i64].view()));
            rows.row(format!("{place} label"), same(&losses(&with_axis), &losses(&plain)));
            rows.row(format!("{place} gradient"), same(&grads(&with_axis), &grads(&plain)));
            let shapes = [&plain, &with_axis].map(|output| output.loss.as_ref().map(|loss| loss.ndim()));
            rows.row(
                format!("{place} shape of the loss"),
                ensure(shapes == [Some(0), Some(1)], || format!("{shapes:?}")),
            );
            let number = run(&margin, &ctx, one.view(), array![0_i64].view());
            rows.row(format!("{place} number"), same(&losses(&number), &[0.0]));

            let lists = MultiLabelMargin::new().reduction(none);
            let number = run(&lists, &ctx, one.view(), array![0_i64].view());
            rows.row(format!("{place} list of a number"), same(&losses(&number), &[0.0]));
            let number = run(&lists, &ctx, array![0.5_f32].view(), arr0(0_i64).view());
            rows.row(format!("{place} number for a list"), same(&losses(&number), &[0.0]));
            let refused = CrossEntropy::new().evaluate(&ctx, &Tensors::new(x.view(), array![0_i64].view()));
            rows.row(format!("{place} no other loss"), ensure(refused.is_err(), || "accepted"));
        }
    });
}
