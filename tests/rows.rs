//! Proves what losses over rows offer beyond PyTorch's: a weight per row, and statistics of every row from the same
//! pass.

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{Buffers, CrossEntropy, Error, Evaluate, Loss, Output, Reduction, RowStats, RowStrategy, Want};
use ndarray::{Array1, Array2, ArrayD, ArrayView1, Axis, IxDyn, array};

use crate::support::cases::Named;
use crate::support::compare::{TOLERANCE, bits, outputs, stats};
use crate::support::resident::{self, Resident};
use crate::support::values::{close, losses, near, unreduced, wide};
use crate::support::{Table, cases, ensure, gpu, places, reason, table};

/// The GPU and the CPU against the reference in f64.
fn check(rows: &mut Table, name: &str, loss: &dyn Loss, tensors: &OwnedTensors, want: Want) {
    for (place, ctx) in places() {
        let compared = || {
            let got = loss.evaluate(&ctx, &tensors.view().wants(want)).map_err(reason)?;
            let oracle = loss.reference(&tensors.to_f64().view().wants(want)).map_err(reason)?;
            outputs(&got, &oracle, cases::scales(loss, tensors), TOLERANCE)
        };
        rows.row(format!("{place} {name}"), compared());
    }
}

// ---- A weight per row -----------------------------------------------------------------------------------------------

fn weighable() -> Vec<Named> {
    let takes = |loss: &dyn Loss| {
        let problem = cases::problem(&loss.example_inputs(&[2, 5], 1), Want::LOSS).with_sample_weight();
        loss.lower(&problem).is_ok()
    };
    let ends = cases::variants(5).into_iter().filter(|(_, loss)| cases::is_first_or_last(&**loss, 5));
    let all: Vec<_> = ends.filter(|(_, loss)| takes(&**loss)).collect();
    assert!(!all.is_empty(), "no loss takes weights of rows");
    all
}

fn row_weights(shape: &[usize]) -> ArrayD<f32> {
    let mut next = 0;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        next = (next + 4) % 9;
        next as f32 * 0.375
    })
}

fn weighed(loss: &dyn Loss, shape: &[usize]) -> Option<OwnedTensors> {
    let mut tensors = cases::example_inputs(loss, shape, 31)?;
    tensors.sample_weight = Some(row_weights(&cases::item_shape(loss, &tensors).ok()?));
    Some(tensors)
}

/// Threads, tiles and groups, a class axis that is not last, several partial sums of the denominator.
#[test]
fn a_weight_per_row_is_what_the_reference_makes_of_it() {
    table(|rows| {
        for (name, loss) in weighable() {
            let shape = [7, 5, 9];
            let Some(tensors) = weighed(&*loss, &shape) else { continue };
            for (reduction, loss) in cases::reductions(&*loss, &tensors) {
                let want = cases::everything(&*loss, &tensors);
                check(rows, &format!("{name} {reduction:?} {shape:?}"), &*loss, &tensors, want);
            }
            let upstream = cases::with_upstream(&*loss, &tensors);
            let want = cases::everything(&*loss, &upstream);
            check(rows, &format!("{name} {shape:?} with grad_output"), &*loss, &upstream, want);
        }
        // Tiles, in one workgroup and in several: a software driver takes seconds to compile one, so only what counts
        // the weights.
        for (name, loss) in weighable().into_iter().filter(|(_, loss)| cases::is_last(&**loss, 5)) {
            for shape in [[7, 5], [9_001, 5]] {
                let loss = loss.with_reduction(Reduction::Mean);
                let Some(tensors) = weighed(&*loss, &shape) else { continue };
                let want = cases::everything(&*loss, &tensors);
                check(rows, &format!("{name} {shape:?}"), &*loss, &tensors, want);
            }
        }
        let long = CrossEntropy::new().weight([0.5; 200]);
        let tensors = weighed(&long, &[4, 200]).expect("logits");
        check(rows, "200 classes", &long, &tensors, Want::LOSS | Want::GRAD);
    });
}

/// By hand: each row's loss and gradient times its weight, and the mean over what the rows count.
#[test]
fn a_weight_multiplies_its_row_and_counts_in_the_mean() {
    let class_weight = [1.0_f32, 0.5, 2.0];
    let row_weight = array![2.0_f32, 0.25, 0.0, 4.0];
    let x = array![[1.0_f32, 2.0, -1.0], [0.5, 0.0, 0.25], [3.0, -3.0, 0.0], [0.0, 0.0, 1.0]];
    let t = array![0_i64, 1, 2, -100];
    table(|rows| {
        for (place, ctx) in places() {
            let loss = unreduced().weight(class_weight);
            let plain = OwnedTensors::new(x.clone().into_dyn(), OwnedTarget::Indices(t.clone().into_dyn()));
            let weighed = OwnedTensors { sample_weight: Some(row_weight.clone().into_dyn()), ..plain.clone() };
            let of =
                |loss: &dyn Loss, tensors: &OwnedTensors| loss.evaluate(&ctx, &tensors.view()).expect("a valid call");
            let (plain, none) = (of(&loss, &plain), of(&loss, &weighed));
            let by_row = |values: Vec<f32>, per_row: usize| -> Vec<f64> {
                let weights = row_weight.iter().flat_map(|&w| std::iter::repeat_n(f64::from(w), per_row));
                values.into_iter().zip(weights).map(|(v, w)| f64::from(v) * w).collect()
            };
            let expected = by_row(losses(&plain), 1);
            rows.row(format!("{place} none"), close(&losses(&none), &expected, 2e-7));
            let gradient = |output: &Output| output.grad_input.iter().flatten().copied().collect::<Vec<f32>>();
            let expected_gradient = by_row(gradient(&plain), 3);
            rows.row(format!("{place} none's gradient"), near(&gradient(&none), &expected_gradient, 2e-7));
            // The ignored row has no part in it, whatever it weighs.
            let denominator = 2.0 * 1.0 + 0.25 * 0.5 + 0.0 * 2.0;
            let mean = of(&*loss.with_reduction(Reduction::Mean), &weighed);
            let total: f64 = expected.iter().sum();
            rows.row(format!("{place} mean"), close(&losses(&mean), &[total / denominator], 4e-7));
            let shared: Vec<f64> = expected_gradient.iter().map(|g| g / denominator).collect();
            rows.row(format!("{place} mean's gradient"), near(&gradient(&mean), &shared, 4e-7));
            // Probabilities: the mean over the weights of the rows.
            let y = ArrayD::from_elem(IxDyn(&[4, 3]), 1.0_f32 / 3.0);
            let soft = OwnedTensors { target: OwnedTarget::Values(y), ..weighed };
            let (none, mean) = (of(&loss, &soft), of(&*loss.with_reduction(Reduction::Mean), &soft));
            let total: f64 = losses(&none).iter().map(|&l| f64::from(l)).sum();
            rows.row(format!("{place} mean of probabilities"), close(&losses(&mean), &[total / 6.25], 4e-7));
        }
    });
}

#[test]
fn weights_of_rows_have_the_shape_of_the_labels() {
    table(|rows| {
        for (place, ctx) in places() {
            let mut tensors = CrossEntropy::new().example_inputs(&[4, 3], 1);
            tensors.sample_weight = Some(ArrayD::ones(IxDyn(&[3])));
            let got = CrossEntropy::new().evaluate(&ctx, &tensors.view().wants(Want::LOSS));
            let expected = Error::Shape { argument: "sample_weight", expected: "[4]".into(), got: "[3]".into() };
            rows.row(place, ensure(got == Err(expected), || format!("{got:?}")));
        }
    });
}

// ---- Statistics -----------------------------------------------------------------------------------------------------

/// In f64, straight from the definitions.
fn expected(x: &Array2<f32>, labels: &[i64]) -> RowStats<f64> {
    let row = |x: ArrayView1<'_, f32>| {
        let m = x.iter().fold(f64::NEG_INFINITY, |m, &v| m.max(f64::from(v)));
        let lse = m + x.iter().map(|&v| (f64::from(v) - m).exp()).sum::<f64>().ln();
        let surprise = |v: f64| if v == f64::NEG_INFINITY { 0.0 } else { (v - lse).exp() * (lse - v) };
        let entropy = x.iter().map(|&v| surprise(f64::from(v))).sum::<f64>();
        let argmax = x.iter().position(|&v| f64::from(v) == m).unwrap_or(usize::MAX) as u32;
        (lse, entropy, argmax)
    };
    let rows: Vec<_> = x.rows().into_iter().map(row).collect();
    let hit = rows.iter().zip(labels).map(|(row, &label)| i64::from(row.2) == label).collect::<Vec<_>>();
    RowStats {
        lse: rows.iter().map(|row| row.0).collect::<Array1<_>>().into_dyn(),
        entropy: rows.iter().map(|row| row.1).collect::<Array1<_>>().into_dyn(),
        argmax: rows.iter().map(|row| row.2).collect::<Array1<_>>().into_dyn(),
        hit: Array1::from_vec(hit).into_dyn(),
    }
}

/// Logits in steps of a half, so that the largest often occurs twice: the first one counts.
fn with_ties(rows: usize, classes: usize) -> (Array2<f32>, Vec<i64>) {
    let x = Array2::from_shape_fn((rows, classes), |(n, c)| ((n * 7 + c * c * 5 + c) % 13) as f32 * 0.5 - 2.0);
    let labels = (0..rows).map(|n| ((n * 3) % classes) as i64).collect();
    (x, labels)
}

fn tensors_of(x: &Array2<f32>, labels: &[i64]) -> OwnedTensors {
    let target = ArrayD::from_shape_vec(IxDyn(&[labels.len()]), labels.to_vec()).expect("one label per row");
    OwnedTensors::new(x.clone().into_dyn(), OwnedTarget::Indices(target))
}

#[test]
fn statistics_are_what_their_definitions_say() {
    table(|rows| {
        for (place, ctx) in places() {
            for classes in [1, 2, 5, 31, 33, 64, 257, 1000] {
                let (x, labels) = with_ties(12, classes);
                for want in [Want::STATS, Want::LOSS | Want::STATS, Want::LOSS | Want::GRAD | Want::STATS] {
                    let output = CrossEntropy::new().evaluate(&ctx, &tensors_of(&x, &labels).view().wants(want));
                    let outcome = output.map_err(reason).and_then(|output| {
                        stats(&output.stats.ok_or("no statistics")?, &expected(&x, &labels), TOLERANCE)
                    });
                    rows.row(format!("{place} C = {classes} {want:?}"), outcome);
                }
            }
        }
    });
}

/// Every way to map a row to invocations finds the same first class among equals.
#[test]
fn statistics_do_not_depend_on_the_strategy() {
    let ways = [(8, 0), (4, 4), (16, 2), (64, 1), (256, 0)].map(|(lanes, held)| RowStrategy::Lanes { lanes, held });
    table(|rows| {
        for classes in [5, 300] {
            let (x, labels) = with_ties(3, classes);
            let (tensors, want) = (tensors_of(&x, &labels), Want::LOSS | Want::STATS);
            for strategy in [RowStrategy::Thread].into_iter().chain(ways) {
                let output = resident::run(&gpu(), &CrossEntropy::new(), &tensors, want, Some(strategy));
                let outcome = output
                    .map_err(reason)
                    .and_then(|output| stats(&output.stats.ok_or("no statistics")?, &expected(&x, &labels), TOLERANCE));
                rows.row(format!("C = {classes} {strategy:?}"), outcome);
            }
        }
    });
}

/// Softcap, temperature and probabilities change the logits or the hit; a class axis that is not last changes nothing.
#[test]
fn statistics_of_every_variant_are_those_of_the_reference() {
    table(|rows| {
        for shape in [&[7, 33][..], &[3, 68], &[2, 5, 3]] {
            for (name, loss) in cases::variants(shape[1]) {
                let tensors = loss.example_inputs(shape, 3);
                if loss.lower(&cases::problem(&tensors, Want::STATS)).is_err() {
                    continue;
                }
                check(rows, &format!("{name} {shape:?}"), &*loss, &tensors, Want::STATS);
                let everything = Want::LOSS | Want::GRAD | Want::STATS;
                check(rows, &format!("{name} {shape:?} with all outputs"), &*loss, &tensors, everything);
            }
        }
    });
}

/// Masked classes have no part in them; a row that is ignored or NaN has none.
#[test]
fn statistics_of_ignored_and_nan_rows_are_unknown() {
    const INF: f32 = f32::INFINITY;
    let x = array![
        [0.0, 0.0, -INF],
        [1.0, f32::NAN, 0.0],
        [0.0, 1.0, 2.0],
        [-INF, -INF, -INF],
        [INF, 0.0, 0.0],
        [5.0, 5.0, 5.0]
    ];
    let labels = [1, 0, -100, 0, 0, 0];
    let tensors = tensors_of(&x, &labels);
    let ln = |n: f64| n.ln();
    table(|rows| {
        for (place, ctx) in places() {
            let output = unreduced().evaluate(&ctx, &tensors.view().wants(Want::STATS)).expect("a valid call");
            let got = output.stats.expect("statistics");
            let unknown = f64::NAN;
            let lse = [ln(2.0), unknown, unknown, unknown, unknown, 5.0 + ln(3.0)];
            let entropy = [ln(2.0), unknown, unknown, unknown, unknown, ln(3.0)];
            let expected = RowStats {
                lse: ArrayD::from_shape_vec(IxDyn(&[6]), lse.to_vec()).expect("six rows"),
                entropy: ArrayD::from_shape_vec(IxDyn(&[6]), entropy.to_vec()).expect("six rows"),
                argmax: array![0, u32::MAX, u32::MAX, u32::MAX, u32::MAX, 0].into_dyn(),
                hit: array![false, false, false, false, false, true].into_dyn(),
            };
            rows.row(place, stats(&got, &expected, TOLERANCE));
        }
    });
}

/// A label out of range in a GPU buffer makes its row's statistics unknown, and no other's.
#[test]
fn statistics_of_a_row_with_an_invalid_label_are_unknown() {
    let (x, mut labels) = with_ties(5, 7);
    let valid = expected(&x, &labels);
    labels[3] = 7;
    let loss = CrossEntropy::new();
    let tensors = tensors_of(&x, &labels);
    let (output, status) =
        resident::run_despite_status(&gpu(), &loss, &tensors, Want::LOSS | Want::STATS).expect("buffers that serve");
    assert!(matches!(status, Err(Error::Invalid { count: 1, first: 3, .. })), "{status:?}");
    let got = output.stats.expect("statistics");
    assert!(
        got.lse[[3]].is_nan() && got.entropy[[3]].is_nan() && !got.hit[[3]] && got.argmax[[3]] == u32::MAX,
        "{got:?}"
    );
    let keep = [0, 1, 2, 4];
    assert_eq!(got.argmax.select(Axis(0), &keep), valid.argmax.select(Axis(0), &keep));
    assert_eq!(got.hit.select(Axis(0), &keep), valid.hit.select(Axis(0), &keep));
    let lse = got.lse.select(Axis(0), &keep);
    close(lse.as_slice().expect("one row"), valid.lse.select(Axis(0), &keep).as_slice().expect("one row"), TOLERANCE)
        .unwrap_or_else(|e| panic!("{e}"));
}

/// The GPU-resident API gives what the host API gives.
#[test]
fn weights_and_statistics_in_buffers() {
    let loss = CrossEntropy::new().label_smoothing(0.1);
    let tensors = weighed(&loss, &[6, 5]).expect("logits");
    let want = Want::LOSS | Want::GRAD | Want::STATS;
    let host = loss.evaluate(&gpu(), &tensors.view().wants(want)).expect("a sample");
    let prepared = loss.prepare(&gpu(), &cases::problem(&tensors, want)).expect("a sample");
    let packed = Resident::packed(&gpu(), &loss, &tensors, want).expect("a sample");
    let got = packed.run(&gpu(), &prepared).expect("buffers that serve");
    assert_eq!(bits(&got), bits(&host));
    assert!(close(&losses(&got), &wide(losses(&host)), 0.0).is_ok());
    for missing in ["sample_weight", "stats"] {
        let buffers = packed.buffers();
        let buffers = match missing {
            "stats" => Buffers { stats: None, ..buffers },
            _ => Buffers { sample_weight: None, ..buffers },
        };
        let error = prepared.bind(&buffers).map(|_| ()).expect_err("a buffer is missing");
        assert!(matches!(&error, Error::Missing { argument, .. } if *argument == missing), "{error}");
    }
}

/// Rows of which most classes are far below the others, and so without probability: masked, the lowest that a type holds, or huge. A
/// weight of 0 times a huge distance is nothing. Such classes come first, when they are the largest so far, or last.
fn rows_far_apart(classes: usize) -> (Array2<f32>, Vec<usize>) {
    let low = [f32::NEG_INFINITY, f32::MIN, -3.389_531_4e38, -1e37];
    let mut rows = Vec::new();
    for (low, few, is_first) in
        low.iter().flat_map(|&low| [(low, 1, true), (low, 2, true), (low, 1, false), (low, 2, false)])
    {
        let place = |c: usize| if is_first { c + few >= classes } else { c < few };
        rows.extend((0..classes).map(|c| if place(c) { 2.0 - few as f32 } else { low }));
    }
    let numbers = (0..rows.len() / classes).map(|row| 1 + row % 2).collect();
    (Array2::from_shape_vec((16, classes), rows).expect("sixteen rows"), numbers)
}

#[test]
fn what_is_far_below_counts_for_nothing() {
    use deeploss::{Direction, KlFromLogits, SoftmaxFocal};
    let lanes = |lanes, held| RowStrategy::Lanes { lanes, held };
    let strategies = [
        (RowStrategy::Thread, 17),
        (RowStrategy::Tile { rows: 2 }, 10),
        (RowStrategy::Staged, 10),
        (lanes(4, 4), 101),
        (lanes(8, 0), 260),
        (lanes(8, 4), 301),
        (lanes(64, 2), 1003),
        (RowStrategy::Split { lanes: 8, parts: 2 }, 1003),
    ];
    let focal = || SoftmaxFocal::new().reduction(Reduction::None);
    let kl = || KlFromLogits::new().reduction(Reduction::None);
    let losses: [(bool, Box<dyn Loss>); 10] = [
        (true, Box::new(unreduced())),
        (true, Box::new(unreduced().temperature(0.3))),
        (true, Box::new(unreduced().z_loss(1e-3).temperature(1.7))),
        (false, Box::new(unreduced().label_smoothing(0.1))),
        (false, Box::new(unreduced().softcap(30.0).temperature(0.5))),
        (false, Box::new(focal())),
        (false, Box::new(focal().gamma(0.5).label_smoothing(0.1))),
        (false, Box::new(kl())),
        (false, Box::new(kl().direction(Direction::Reverse).temperature(1.7))),
        (false, Box::new(kl().direction(Direction::Jsd(0.3)).temperature(0.3))),
    ];
    table(|rows| {
        for (strategy, classes) in strategies {
            let (x, numbers) = rows_far_apart(classes);
            for (has_entropy, loss) in &losses {
                let target = match loss.info().name {
                    "kl_from_logits" => {
                        let order: Vec<usize> = (0..16).map(|row| (row + 3) % 16).collect();
                        OwnedTarget::Values(x.select(Axis(0), &order).into_dyn())
                    }
                    _ => OwnedTarget::Indices(
                        Array1::from_iter((0..16).map(|row| row % 3 * (classes as i64 - 1) / 2)).into_dyn(),
                    ),
                };
                let tensors = OwnedTensors::new(x.clone().into_dyn(), target);
                let want = if *has_entropy { Want::STATS } else { Want::LOSS } | cases::everything(&**loss, &tensors);
                let oracle = loss.reference(&tensors.to_f64().view().wants(want)).expect("sixteen rows");
                let on_cpu = loss.evaluate(&deeploss::Context::cpu(), &tensors.view().wants(want)).map_err(reason);
                let on_gpu = resident::run(&gpu(), &**loss, &tensors, want, Some(strategy)).map_err(reason);
                for (place, got) in [("cpu", on_cpu), ("gpu", on_gpu)] {
                    let name = format!("{place} {strategy:?} C = {classes} {loss:?}");
                    let compared = got.and_then(|got| {
                        let entropy =
                            got.stats.iter().flat_map(|stats| stats.entropy.iter().copied()).collect::<Vec<f32>>();
                        let known = numbers.iter().map(|&number| (number as f64).ln());
                        let right = entropy.iter().zip(known).all(|(&h, known)| (f64::from(h) - known).abs() <= 1e-6);
                        ensure(right, || format!("entropies {entropy:?}"))?;
                        outputs(&got, &oracle, cases::scales(&**loss, &tensors), TOLERANCE)
                    });
                    rows.row(name, compared);
                }
            }
        }
    });
}
