//! Proves that every way of mapping rows to invocations gives the reference's values, on every shape it serves, and
//! that the same inputs give the same bits: run after run, and whatever else the submit holds.

use deeploss::{Error, Evaluate, RowStrategy, Want};

use crate::support::compare::{TOLERANCE, bits, outputs};
use crate::support::resident::{self, Resident};
use crate::support::{cases, ensure, gpu, reason, table};

/// Every kind of strategy, each with shapes that it serves: with and without whole fours, rows that a group holds whole, in part and
/// not at all, with a last pair that is full, nearly empty, and shared with the next row; several groups to a workgroup and several
/// shuffled groups to one; a class axis that is not last. Few rows: on a CPU adapter a barrier costs more than the arithmetic.
pub(crate) fn strategies() -> Vec<(RowStrategy, Vec<&'static [usize]>)> {
    let lanes = |lanes, held| RowStrategy::Lanes { lanes, held };
    vec![
        (RowStrategy::Thread, vec![&[2, 1], &[3, 5], &[2, 33], &[1, 70, 3]]),
        (RowStrategy::Tile { rows: 1 }, vec![&[5, 16], &[2, 64]]),
        (RowStrategy::Tile { rows: 2 }, vec![&[7, 10]]),
        (RowStrategy::Tile { rows: 4 }, vec![&[9, 1], &[6, 15]]),
        (RowStrategy::Staged, vec![&[66, 10], &[3, 7]]),
        (lanes(4, 4), vec![&[17, 128], &[3, 101]]),
        (lanes(8, 0), vec![&[2, 260], &[2, 4113]]),
        (lanes(8, 4), vec![&[2, 260], &[9, 203]]),
        (lanes(8, 8), vec![&[2, 1003]]),
        (lanes(16, 4), vec![&[2, 301]]),
        (lanes(64, 4), vec![&[2, 2100]]),
        (lanes(256, 2), vec![&[2, 3300]]),
        (RowStrategy::Split { lanes: 8, parts: 2 }, vec![&[3, 1003]]),
        (RowStrategy::Split { lanes: 8, parts: 8 }, vec![&[2, 4600]]),
        (RowStrategy::Split { lanes: 64, parts: 2 }, vec![&[2, 2100]]),
    ]
}

/// Every variant at one length, the losses' plainest and fullest at the first of each strategy, at the others the
/// fullest.
fn check(is_chosen: impl Fn(RowStrategy) -> bool) {
    table(|rows| {
        for (strategy, shapes) in strategies().into_iter().filter(|(strategy, _)| is_chosen(*strategy)) {
            for (number, shape) in shapes.into_iter().enumerate() {
                for (name, loss) in cases::variants(shape[1]) {
                    let sample =
                        cases::example_inputs(&*loss, shape, 11).filter(|tensors| cases::has_rows(&*loss, tensors));
                    let chosen = (shape == [2, 260] && matches!(strategy, RowStrategy::Lanes { lanes: 8, .. }))
                        || (number == 0 && cases::is_first_or_last(&*loss, shape[1]))
                        || cases::is_last(&*loss, shape[1]);
                    let Some(tensors) = sample.filter(|_| chosen) else { continue };
                    let tensors = cases::with_upstream(&*loss, &tensors);
                    let want = cases::everything(&*loss, &tensors);
                    let compared = || {
                        let problem = cases::problem(&tensors, want);
                        let prepared = match loss.prepare_with(&gpu(), &problem, Some(strategy)) {
                            // Lists of labels are compared class by class: never held, split or tiled, and long for few
                            // lanes.
                            Err(Error::Unsupported { .. }) if loss.info().name == "multilabel_margin_loss" => {
                                return Ok(());
                            }
                            prepared => prepared.map_err(reason)?,
                        };
                        let resident = Resident::new(&gpu(), &*loss, &tensors, want).map_err(reason)?;
                        let got = resident.run(&gpu(), &prepared).map_err(reason)?;
                        let runs_as = prepared.plan().strategy();
                        ensure(runs_as == strategy, || format!("runs as {runs_as:?}"))?;
                        let oracle = loss.reference(&tensors.to_f64().view().wants(want)).map_err(reason)?;
                        outputs(&got, &oracle, cases::scales(&*loss, &tensors), TOLERANCE)
                    };
                    rows.row(format!("{name} {shape:?} {strategy:?}"), compared());
                }
            }
        }
    });
}

fn waits_at_barriers(strategy: RowStrategy) -> bool {
    strategy == RowStrategy::Staged || strategy.lanes() > 8
}

// Two tests, which run side by side.

#[test]
fn every_strategy_without_barriers_computes_what_the_reference_computes() {
    check(|strategy| !waits_at_barriers(strategy));
}

#[test]
fn every_strategy_with_barriers_computes_what_the_reference_computes() {
    check(waits_at_barriers);
}

/// Enough rows for several partial sums of the reduction; enough classes for a group of lanes.
#[test]
fn the_same_bits_in_a_hundred_runs() {
    const RUNS: usize = 100;
    table(|rows| {
        for shape in [[10_000, 3], [5, 1003]] {
            for (name, loss) in cases::fullest(shape[1]) {
                let tensors = cases::example_inputs(&*loss, &shape, 5).expect("every loss takes (N, C)");
                let want = cases::everything(&*loss, &tensors);
                let outcome = (|| {
                    let prepared = loss.prepare(&gpu(), &cases::problem(&tensors, want)).map_err(reason)?;
                    let resident = Resident::new(&gpu(), &*loss, &tensors, want).map_err(reason)?;
                    let first = bits(&resident.run(&gpu(), &prepared).map_err(reason)?);
                    for run in 1..RUNS {
                        let again = bits(&resident.run(&gpu(), &prepared).map_err(reason)?);
                        ensure(again == first, || format!("run {run} gives other bits than the first"))?;
                    }
                    Ok(())
                })();
                rows.row(format!("{name} {shape:?}"), outcome);
            }
        }
    });
}

/// All calls in one encoder, then all again the other way round: each result is what the call gives alone. The same
/// call prepared once and recorded with two sets of buffers is among them, as its records share scratch.
#[test]
fn the_same_bits_among_other_dispatches_in_one_submit() {
    let mut calls = Vec::new();
    for shape in [[9000, 3], [4, 257]] {
        for (name, loss) in cases::fullest(shape[1]) {
            let other = cases::example_inputs(&*loss, &shape, 22).expect("every loss takes (N, C)");
            let tensors = cases::example_inputs(&*loss, &shape, 21).expect("every loss takes (N, C)");
            let want = Want::LOSS | Want::GRAD;
            let prepared = loss.prepare(&gpu(), &cases::problem(&tensors, want)).expect("a sample");
            let both = [tensors, other].map(|tensors| {
                let alone = resident::run(&gpu(), &*loss, &tensors, want, None).expect("a sample");
                (Resident::new(&gpu(), &*loss, &tensors, want).expect("a sample"), bits(&alone))
            });
            calls.push((format!("{name} {shape:?}"), prepared, both));
        }
    }
    let mut encoder = resident::encoder(&gpu());
    let recorded = calls.iter().chain(calls.iter().rev());
    for (name, prepared, both) in recorded {
        for (buffers, _) in both {
            prepared.record(&mut encoder, &buffers.buffers()).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
    resident::submit(&gpu(), encoder);
    table(|rows| {
        for (name, _, both) in &calls {
            for (number, (buffers, alone)) in both.iter().enumerate() {
                let same = bits(&buffers.output(&buffers.download(&gpu()))) == *alone;
                let outcome = ensure(same, || "other bits than alone");
                rows.row(format!("{name} buffers {number}"), outcome);
            }
        }
    });
}
