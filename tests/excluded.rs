//! Proves that a row which is masked, or which weighs 0, counts for nothing whatever it holds, as if it were not there;
//! and what the mean is where nothing counts at all, or where counts cancel.

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{
    CrossEntropy, Error, Evaluate, LOSSES, Loss, OptionValue, Options, Output, Problem, Reduction, RowStats,
    RowStrategy, Tensors, Want,
};
use ndarray::{Array1, Array2, ArrayD, Axis, IxDyn, array};

use crate::support::cases::Named;
use crate::support::compare::{TOLERANCE, outputs};
use crate::support::values::{grads, losses, run, same};
use crate::support::{cases, ensure, gpu, own_device, places, reason, resident, table};

/// How rows are excluded.
#[derive(Debug, Clone, Copy)]
enum By {
    Mask,
    Weight,
    /// Some by the mask, whose weights are NaN, the others by their weight.
    Both,
}

/// Losses over rows: the plainest and the fullest variants, and one with class weights that count in the mean.
fn losses_over_rows(classes: usize) -> Vec<Named> {
    let is_chosen = |(name, loss): &Named| name == "cross_entropy[3]" || cases::is_first_or_last(&**loss, classes);
    let has_rows = |(_, loss): &Named| cases::has_rows(&**loss, &loss.example_inputs(&[2, classes], 1));
    cases::variants(classes).into_iter().filter(|named| is_chosen(named) && has_rows(named)).collect()
}

/// Three rows in eight.
fn is_excluded(row: usize) -> bool {
    matches!(row % 8, 1 | 4 | 6)
}

fn kept(rows: usize) -> Vec<usize> {
    (0..rows).filter(|&row| !is_excluded(row)).collect()
}

/// Typical tensors, where excluded rows hold what no other row may, and the same without those rows.
fn cases_of(loss: &dyn Loss, [rows, classes]: [usize; 2], by: By) -> [OwnedTensors; 2] {
    let mut tensors = loss.example_inputs(&[rows, classes], 17);
    let weights = Array1::from_shape_fn(rows, |row| 0.25 + (row % 5) as f32 * 0.5);
    let mut without = tensors.clone();
    let select = |values: &ArrayD<f32>| values.select(Axis(0), &kept(rows));
    without.input = select(&tensors.input);
    without.target = match &tensors.target {
        OwnedTarget::Indices(labels) => OwnedTarget::Indices(labels.select(Axis(0), &kept(rows))),
        OwnedTarget::Values(values) => OwnedTarget::Values(select(values)),
    };
    for row in (0..rows).filter(|&row| is_excluded(row)) {
        let bad = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY][row % 3];
        tensors.input.index_axis_mut(Axis(0), row).fill(bad);
        match &mut tensors.target {
            OwnedTarget::Indices(labels) => labels.index_axis_mut(Axis(0), row).fill(classes as i64 + 7),
            OwnedTarget::Values(values) => values.index_axis_mut(Axis(0), row).fill(bad),
        }
    }
    if matches!(by, By::Mask | By::Both) {
        let is_masked = |row: usize| is_excluded(row) && (matches!(by, By::Mask) || row % 8 != 4);
        tensors.ignore_mask = Some(Array1::from_shape_fn(rows, is_masked).into_dyn());
    }
    if matches!(by, By::Weight | By::Both) {
        let weight = |row: usize| match (is_excluded(row), &tensors.ignore_mask) {
            (true, Some(mask)) if mask[[row]] => f32::NAN,
            (true, _) => 0.0,
            (false, _) => weights[row],
        };
        tensors.sample_weight = Some(Array1::from_shape_fn(rows, weight).into_dyn());
        without.sample_weight = Some(weights.select(Axis(0), &kept(rows)).into_dyn());
    }
    [tensors, without]
}

fn wanted(loss: &dyn Loss, tensors: &OwnedTensors) -> Want {
    let everything = cases::everything(loss, tensors);
    let stats = loss.lower(&cases::problem(tensors, everything | Want::STATS)).is_ok();
    if stats { everything | Want::STATS } else { everything }
}

/// The reference's outputs for the rows that are kept, and those of ignored rows between them.
fn expected(loss: &dyn Loss, without: &OwnedTensors, rows: usize, want: Want) -> Result<Output<f64>, String> {
    let output = loss.reference(&without.to_f64().view().wants(want)).map_err(reason)?;
    fn spread<T: Copy>(values: &ArrayD<T>, rows: usize, ignored: T) -> ArrayD<T> {
        let mut shape = values.shape().to_vec();
        shape[0] = rows;
        let mut all = ArrayD::from_elem(IxDyn(&shape), ignored);
        for (place, row) in kept(rows).into_iter().enumerate() {
            all.index_axis_mut(Axis(0), row).assign(&values.index_axis(Axis(0), place));
        }
        all
    }
    let zeros = |part: &Option<ArrayD<f64>>| part.as_ref().map(|values| spread(values, rows, 0.0));
    Ok(Output {
        loss: if output.loss.as_ref().is_some_and(|loss| loss.ndim() > 0) { zeros(&output.loss) } else { output.loss },
        grad_input: zeros(&output.grad_input),
        grad_input2: None,
        grad_target: zeros(&output.grad_target),
        stats: output.stats.map(|stats| RowStats {
            lse: spread(&stats.lse, rows, f64::NAN),
            entropy: spread(&stats.entropy, rows, f64::NAN),
            argmax: spread(&stats.argmax, rows, u32::MAX),
            hit: spread(&stats.hit, rows, false),
        }),
    })
}

/// The outputs are those of the kept rows, and exactly 0 for the others.
fn check(
    loss: &dyn Loss,
    shape: [usize; 2],
    by: By,
    run: impl Fn(&OwnedTensors, Want) -> Result<Output, Error>,
) -> Result<(), String> {
    let [tensors, without] = cases_of(loss, shape, by);
    let want = wanted(loss, &tensors);
    let got = run(&tensors, want).map_err(reason)?;
    outputs(&got, &expected(loss, &without, shape[0], want)?, cases::scales(loss, &without), TOLERANCE)?;
    let unreduced = got.loss.as_ref().filter(|loss| loss.ndim() > 0);
    let parts = [unreduced, got.grad_input.as_ref(), got.grad_target.as_ref()];
    let of_excluded = |part: &ArrayD<f32>| {
        let rows = part.axis_iter(Axis(0)).enumerate().filter(|(row, _)| is_excluded(*row));
        rows.flat_map(|(_, row)| row.iter().copied().collect::<Vec<_>>()).all(|v| v == 0.0)
    };
    ensure(parts.into_iter().flatten().all(of_excluded), || "an excluded row is not exactly 0")
}

/// Both places of the host API; few rows and many, with both kinds of reductions. (A software driver takes long to compile
/// what each of them is.)
#[test]
fn excluded_rows_have_no_part_in_the_result_whatever_they_hold() {
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss) in losses_over_rows(5) {
                let fullest = cases::is_last(&*loss, 5) || name == "cross_entropy[3]";
                for (by, reduction, shape, runs) in [
                    (By::Mask, Reduction::Mean, [13, 5], true),
                    (By::Weight, Reduction::None, [13, 5], true),
                    (By::Both, Reduction::Mean, [13, 5], fullest),
                    (By::Both, Reduction::Mean, [9_001, 5], fullest),
                ] {
                    if runs {
                        let loss = loss.with_reduction(reduction);
                        let outcome =
                            check(&*loss, shape, by, |tensors, want| loss.evaluate(&ctx, &tensors.view().wants(want)));
                        rows.row(format!("{place} {name} {by:?} {reduction:?} {shape:?}"), outcome);
                    }
                }
            }
        }
    });
}

/// In buffers, with every strategy, and with more classes than a lane holds.
#[test]
fn every_strategy_leaves_excluded_rows_out() {
    let strategies = [
        (RowStrategy::Thread, [13, 33]),
        (RowStrategy::Tile { rows: 4 }, [16, 5]),
        (RowStrategy::Staged, [66, 7]),
        (RowStrategy::Lanes { lanes: 8, held: 4 }, [9, 260]),
        (RowStrategy::Lanes { lanes: 64, held: 0 }, [9, 101]),
        (RowStrategy::Split { lanes: 8, parts: 2 }, [9, 260]),
    ];
    table(|rows| {
        for (strategy, shape) in strategies {
            let fullest = |(_, loss): &Named| cases::is_last(&**loss, shape[1]);
            for (name, loss) in losses_over_rows(shape[1]).into_iter().filter(fullest) {
                let outcome = check(&*loss, shape, By::Both, |tensors, want| {
                    resident::run(&gpu(), &*loss, tensors, want, Some(strategy))
                });
                // Lists of labels do not go with every strategy.
                let refused = matches!(&outcome, Err(reason) if reason.contains("not supported"));
                if !(refused && loss.info().name == "multilabel_margin_loss") {
                    rows.row(format!("{name} {shape:?} {strategy}"), outcome);
                }
            }
        }
    });
}

/// A mask takes a binding, weights of rows another: with all else that is more than WebGPU's default, and said so.
#[test]
fn more_bindings_than_the_device_has_are_refused() {
    let ctx = own_device(wgpu::Features::empty(), wgpu::Limits::default());
    let loss = CrossEntropy::new().weight([1.0; 5]);
    let masked = Problem::rows(40, 5).with_ignore_mask();
    table(|rows| {
        for (name, problem, fits) in [
            ("mask", masked.clone(), true),
            ("mask and upstream gradient", masked.clone().with_grad_output(), true),
            ("mask, upstream gradient and weights", masked.with_grad_output().with_sample_weight(), false),
        ] {
            let outcome = match loss.prepare(&ctx, &problem) {
                Ok(_) => ensure(fits, || "prepared"),
                Err(Error::Unsupported { what, .. }) => ensure(!fits && what.contains("9 tensors"), || what),
                Err(error) => Err(error.to_string()),
            };
            rows.row(name, outcome);
        }
    });
}

// ---- Nothing counts -------------------------------------------------------------------------------------------------

/// The loss of this name with these class weights, and with this mean where nothing counts.
fn made(name: &str, weight: Option<[f32; 3]>, on_empty: Option<f64>) -> Box<dyn Loss> {
    let info = LOSSES.iter().find(|info| info.name == name).expect("a loss of the table");
    let weight = weight.map(|weight| ("weight".to_owned(), OptionValue::Tensor(weight.into())));
    let on_empty = on_empty.map(|value| ("on_empty".to_owned(), OptionValue::Number(value)));
    (info.from_options)(&weight.into_iter().chain(on_empty).collect::<Options>()).expect("options of the loss")
}

/// Every row is masked or weighs 0: the mean is that of an empty batch, the gradient 0.
#[test]
fn where_every_row_is_excluded_the_mean_is_that_of_an_empty_batch() {
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss) in losses_over_rows(5).into_iter().filter(|(_, loss)| cases::is_last(&**loss, 5)) {
                // A loss of each kind of target in a large batch, which is counted by a dispatch of its own.
                let large = ["cross_entropy", "multi_margin_loss", "kl_from_logits"].contains(&loss.info().name);
                for count in [Some(4), large.then_some(9_001)].into_iter().flatten() {
                    let plain = loss.example_inputs(&[count, 5], 3);
                    let masked = ArrayD::from_elem(IxDyn(&[count]), true);
                    let masked = OwnedTensors { ignore_mask: Some(masked), ..plain.clone() };
                    let weighed = OwnedTensors { sample_weight: Some(ArrayD::zeros(IxDyn(&[count]))), ..plain };
                    for (by, tensors) in [("mask", masked), ("weights", weighed)] {
                        for (value, expected) in [(None, f32::NAN), (Some(2.5), 2.5)] {
                            let loss = made(loss.info().name, None, value);
                            let Ok(got) = loss.evaluate(&ctx, &tensors.view()) else {
                                rows.row(format!("{place} {name} {count}"), Err("refused".into()));
                                continue;
                            };
                            let name = format!("{place} {name} {count} {by} {value:?}");
                            rows.row(format!("{name}, loss"), same(&losses(&got), &[expected]));
                            let is_zero = grads(&got).iter().all(|&g| g == 0.0);
                            rows.row(format!("{name}, gradient"), ensure(is_zero, || "a gradient that is not 0"));
                        }
                    }
                }
            }
        }
    });
}

/// Class weights of 0 likewise, where a value was chosen, even of rows that hold NaN; else loss and gradient are NaN, as
/// PyTorch's. Where weights cancel there is no mean, whatever was chosen.
#[test]
fn weights_of_zero_count_nothing_and_weights_that_cancel_have_no_mean() {
    let x = |count: usize| Array2::from_shape_fn((count, 3), |(n, c)| ((n + 2 * c) % 5) as f32);
    table(|rows| {
        for (place, ctx) in places() {
            for (count, name) in [2, 20_000].into_iter().flat_map(|n| [(n, "cross_entropy"), (n, "nll_loss")]) {
                let t = Array1::from_shape_fn(count, |n| (n % 2) as i64);
                let mut nan = x(count);
                nan[[1, 1]] = f32::NAN;
                let of = |weight, on_empty, x: &Array2<f32>| {
                    let loss = made(name, Some(weight), on_empty);
                    let output = run(&*loss, &ctx, x.view(), t.view());
                    (losses(&output), grads(&output))
                };
                let name = format!("{place} {name} {count}");
                for (what, x) in [("ordinary", x(count)), ("NaN", nan)] {
                    let (loss, grad) = of([0.0, 0.0, 1.0], Some(-1.5), &x);
                    rows.row(format!("{name} {what}, chosen"), same(&loss, &[-1.5]));
                    let is_zero = grad.iter().all(|&g| g == 0.0);
                    rows.row(
                        format!("{name} {what}, chosen, gradient"),
                        ensure(is_zero, || "a gradient that is not 0"),
                    );
                    let (loss, grad) = of([0.0, 0.0, 1.0], None, &x);
                    rows.row(format!("{name} {what}"), same(&[loss[0], grad[0]], &[f32::NAN; 2]));
                }
                for on_empty in [None, Some(0.0)] {
                    let (loss, grad) = of([1.0, -1.0, 2.0], on_empty, &x(count));
                    rows.row(format!("{name} cancel {on_empty:?}"), same(&[loss[0], grad[0]], &[f32::NAN; 2]));
                }
            }
        }
    });
}

/// The example of the documentation: nothing to learn from the only row.
#[test]
fn a_single_row_of_weight_zero() {
    let (x, t, w) = (array![[1.0_f32, 2.0]], array![0_i64], array![0.0_f32]);
    table(|rows| {
        for (place, ctx) in places() {
            let call = Tensors::new(x.view(), t.view()).sample_weight(w.view());
            let got = CrossEntropy::new().on_empty(0.0).evaluate(&ctx, &call).expect("a valid call");
            rows.row(format!("{place} loss"), same(&losses(&got), &[0.0]));
            rows.row(format!("{place} gradient"), same(&grads(&got), &[0.0; 2]));
        }
    });
}
