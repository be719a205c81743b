//! Proves that every way of sharing rows out among invocations gives the reference's values, on every shape it serves, and that
//! the same inputs give the same bits: run after run, and whatever else the submit holds.

mod support;

use deeploss::{AdapterFacts, Error, RowStrategy, Want, reference};
use support::compare::{TOLERANCE, answers, bits, wide};
use support::resident::{self, Resident};
use support::{cases, gpu, reason, table};

fn facts() -> &'static AdapterFacts {
    gpu().facts().expect("a GPU context")
}

/// Every kind of strategy. The size of a subgroup is the adapter's; where it varies, or there is none, there is no such strategy.
fn strategies() -> Vec<RowStrategy> {
    let subgroup = facts().subgroup.filter(|(min, max)| min == max).map(|(lanes, _)| lanes);
    let subgroup = subgroup.into_iter().flat_map(|lanes| {
        let split = [2, 3, lanes].map(|parts| RowStrategy::Split { lanes, parts });
        [RowStrategy::Subgroup { lanes }].into_iter().chain(split)
    });
    let tiles = [1, 2, 4].map(|rows| RowStrategy::Tile { rows });
    let workgroups = [64, 256].map(|lanes| RowStrategy::Workgroup { lanes });
    let kept = [64, 256].map(|lanes| RowStrategy::Kept { lanes });
    [RowStrategy::Thread].into_iter().chain(tiles).chain(subgroup).chain(workgroups).chain(kept).collect()
}

/// Few rows: on a CPU adapter a barrier costs more than the arithmetic. Classes around one quad per lane, with and without a
/// class axis that is last, and long enough for several blocks per lane. Every variant at one length, at the others the losses'
/// plainest and fullest.
#[test]
fn every_strategy_computes_what_the_reference_computes() {
    const SHAPES: [&[usize]; 10] =
        [&[2, 1], &[3, 5], &[7, 10], &[3, 12], &[5, 16], &[4, 32], &[2, 33], &[2, 260], &[2, 4_113], &[1, 70, 3]];
    table(|rows| {
        for shape in SHAPES {
            for (name, loss) in cases::variants(shape[1]) {
                let sample = cases::sample(&*loss, shape, 11).filter(|tensors| cases::has_rows(&*loss, tensors));
                let chosen = shape == [2, 260] || cases::is_first_or_last(&*loss, shape[1]);
                let Some(tensors) = sample.filter(|_| chosen) else { continue };
                let tensors = cases::with_upstream(&*loss, &tensors);
                let want = cases::everything(&*loss, &tensors);
                let scales = cases::scales(&*loss, &tensors);
                let oracle = reference::evaluate(&*loss, &tensors.to_f64().view(), want).expect("a sample");
                let mut first = None;
                let last_axis = shape.len() == 2;
                let serves = |strategy: &RowStrategy| {
                    let in_place = !matches!(strategy, RowStrategy::Tile { .. } | RowStrategy::Split { .. });
                    let lists = loss.info().name == "multilabel_margin_loss";
                    let kept = matches!(strategy, RowStrategy::Kept { .. });
                    strategy.serves(facts(), shape[1]) && (in_place || (last_axis && !lists)) && !(kept && lists)
                };
                for strategy in strategies().into_iter().filter(serves) {
                    let problem = cases::problem(&tensors, want);
                    let mut compared = || {
                        let prepared = match loss.prepare_with(gpu(), &problem, Some(strategy)) {
                            // Lists of labels: too many steps for few lanes.
                            Err(Error::Unsupported { .. }) if shape[1] > 4_000 => return Ok(()),
                            prepared => prepared.map_err(reason)?,
                        };
                        let resident = Resident::new(gpu(), &*loss, &tensors, want).map_err(reason)?;
                        let got = resident.run(gpu(), &prepared).map_err(reason)?;
                        if prepared.plan().strategy.0 != strategy {
                            return Err(format!("runs as {:?}", prepared.plan().strategy));
                        }
                        answers(&got, &oracle, scales, TOLERANCE)?;
                        let first = first.get_or_insert_with(|| wide(&got));
                        answers(&got, first, scales, TOLERANCE).map_err(|e| format!("against the first strategy: {e}"))
                    };
                    rows.row(format!("{name} {shape:?} {strategy:?}"), compared());
                }
            }
        }
    });
}

/// Enough rows for several records of the reduction; enough classes for a group of lanes.
#[test]
fn the_same_bits_in_a_hundred_runs() {
    const RUNS: usize = 100;
    table(|rows| {
        for shape in [[10_000, 3], [5, 1003]] {
            for (name, loss) in cases::fullest(shape[1]) {
                let tensors = cases::sample(&*loss, &shape, 5).expect("every loss takes (N, C)");
                let want = cases::everything(&*loss, &tensors);
                let outcome = (|| {
                    let prepared = loss.prepare(gpu(), &cases::problem(&tensors, want)).map_err(reason)?;
                    let resident = Resident::new(gpu(), &*loss, &tensors, want).map_err(reason)?;
                    let first = bits(&resident.run(gpu(), &prepared).map_err(reason)?);
                    for run in 1..RUNS {
                        let again = bits(&resident.run(gpu(), &prepared).map_err(reason)?);
                        if again != first {
                            return Err(format!("run {run} gives other bits than the first"));
                        }
                    }
                    Ok(())
                })();
                rows.row(format!("{name} {shape:?}"), outcome);
            }
        }
    });
}

/// All calls in one encoder, then all again the other way round: each result is what the call gives alone. The same call
/// prepared once and recorded with two sets of buffers is among them, as its records share scratch.
#[test]
fn the_same_bits_among_other_dispatches_in_one_submit() {
    let mut calls = Vec::new();
    for shape in [[9000, 3], [4, 257]] {
        for (name, loss) in cases::fullest(shape[1]) {
            let other = cases::sample(&*loss, &shape, 22).expect("every loss takes (N, C)");
            let tensors = cases::sample(&*loss, &shape, 21).expect("every loss takes (N, C)");
            let want = Want::LOSS | Want::GRAD;
            let prepared = loss.prepare(gpu(), &cases::problem(&tensors, want)).expect("a sample");
            let both = [tensors, other].map(|tensors| {
                let alone = resident::run(gpu(), &*loss, &tensors, want, None).expect("a sample");
                (Resident::new(gpu(), &*loss, &tensors, want).expect("a sample"), bits(&alone))
            });
            calls.push((format!("{name} {shape:?}"), prepared, both));
        }
    }
    let mut encoder = resident::encoder(gpu());
    let recorded = calls.iter().chain(calls.iter().rev());
    for (name, prepared, both) in recorded {
        for (buffers, _) in both {
            prepared.record(&mut encoder, &buffers.buffers()).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
    resident::submit(gpu(), encoder);
    table(|rows| {
        for (name, _, both) in &calls {
            for (number, (buffers, alone)) in both.iter().enumerate() {
                let same = bits(&buffers.answer(&buffers.download(gpu()))) == *alone;
                let outcome = if same { Ok(()) } else { Err("other bits than alone".into()) };
                rows.row(format!("{name} buffers {number}"), outcome);
            }
        }
    });
}
