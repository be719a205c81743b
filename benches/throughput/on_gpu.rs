//! The goals on GPUs, of the class of an H100 or H200.

use deeploss::internals::Layout;
use deeploss::{LOSSES, LossInfo};

use crate::case::Question;
use crate::choice::KERNEL;
use crate::goal::{Goal, sizes};
use crate::inputs::{Inputs, first_variant};
use crate::outcome::Outcome;
use crate::predictions::{self, Figures};
use crate::report::{Block, Report, Row};
use crate::shapes::{COLUMNS, classes, filling};
use crate::storage::Storage;
use crate::timing::Bench;

/// Where 16-bit storage is bf16 everywhere, f16 has to show at one place that it is as fast.
const F16_CLASSES: usize = 1000;

/// Goals of `cross_entropy`, as multiples of the copy in the same storage; `None` where it is only held against its peers.
fn goals_of_cross_entropy(storage: Storage, classes: usize) -> Option<Figures> {
    let figures = |kernel, fused, forward| Some(Figures { kernel, fused, forward });
    match (storage, classes) {
        (Storage::F32, ..=32) => figures(1.25, 1.35, 0.75),
        (Storage::F32, ..=4096) => figures(if classes.is_multiple_of(4) { 1.06 } else { 1.12 }, 1.15, 0.65),
        // Rows that fit the registers of a workgroup.
        (Storage::F32, ..=32_768) => figures(1.18, 1.25, 0.65),
        (Storage::F32, _) => figures(1.38, 1.45, 0.65),
        (Storage::F16 | Storage::Bf16, 33..=16_384) => figures(1.20, 1.30, 0.80),
        (Storage::F16 | Storage::Bf16, _) => None,
    }
}

/// As multiples of the least that the loss' bytes take.
const ELEMENT_WISE: Figures = Figures { kernel: 1.12, fused: 1.15, forward: 1.15 };
const OTHER_ROWS: Figures = Figures { kernel: 1.4, fused: 1.5, forward: 1.5 };

pub(crate) fn measure(bench: &Bench, bytes: usize, report: &mut Report) -> Outcome<Vec<Goal>> {
    let mut goals = Vec::new();
    let cross_entropy = named("cross_entropy")?;
    let of_storage = |storage| classes(storage).iter().map(move |&classes| (storage, classes));
    let cases = of_storage(Storage::F32).chain([(Storage::F16, F16_CLASSES)]).chain(of_storage(Storage::Bf16));
    for (storage, classes) in cases {
        let block = ask(bench, cross_entropy, filling(bytes, storage, classes), storage)?;
        let limits = goals_of_cross_entropy(storage, classes);
        let what = if storage == Storage::F32 { "copy".into() } else { format!("{} copy", storage.name()) };
        let predicted = predictions::of_cross_entropy(storage, classes);
        goals.extend(compare(&block, storage, &what, |row| row.ratio, limits, predicted));
        report.add(block)?;
    }
    for info in LOSSES.iter().filter(|info| info.name != cross_entropy.name) {
        let shape = filling(bytes, Storage::F32, COLUMNS);
        let (limits, predicted) = if is_element_wise(info)? {
            (ELEMENT_WISE, predictions::ELEMENT_WISE)
        } else {
            (OTHER_ROWS, predictions::OTHER_ROWS)
        };
        let block = ask(bench, info, shape, Storage::F32)?;
        goals.extend(compare(&block, Storage::F32, "floor", Row::ratio_to_floor, Some(limits), Some(predicted)));
        report.add(block)?;
    }
    Ok(goals)
}

fn named(name: &str) -> Outcome<&'static LossInfo> {
    LOSSES.iter().find(|info| info.name == name).ok_or_else(|| format!("no {name}").into())
}

fn is_element_wise(info: &LossInfo) -> Outcome<bool> {
    let loss = first_variant(info, COLUMNS)?;
    let problem = Inputs::draw(loss.as_ref(), [1, COLUMNS]).problem("both");
    Ok(matches!(loss.lower(&problem)?.layout, Layout::Items(_)))
}

fn ask(bench: &Bench, info: &'static LossInfo, shape: [usize; 2], storage: Storage) -> Outcome<Block> {
    let modes: &[_] = if bench.has_clock() { &[KERNEL, "loss", "both"] } else { &["loss", "both"] };
    Question { info, shape, ways: &[(storage, None)], modes, rivals: false, profile: false }.measure(bench)
}

fn compare(
    block: &Block,
    storage: Storage,
    against: &str,
    ratio: impl Fn(&Row) -> f64,
    limits: Option<Figures>,
    predicted: Option<Figures>,
) -> [Goal; 3] {
    [(KERNEL, "kernel alone"), ("both", "fused"), ("loss", "forward")].map(|(mode, what)| Goal {
        what: format!("{what} / {against}"),
        sizes: sizes(block),
        measured: block.find("deeploss", mode, storage.name()).map(&ratio),
        predicted: predicted.map(|figures| figures.of(mode)),
        limit: limits.map(|figures| figures.of(mode)),
    })
}
