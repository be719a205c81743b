//! Cross-entropy (or the losses of `--only`) over many sizes.

use deeploss::LossInfo;
use plotters::prelude::SeriesLabelPosition;

use crate::args::Args;
use crate::case::Question;
use crate::choice::MODES;
use crate::outcome::Outcome;
use crate::plot::{self, Axis, Line};
use crate::report::{Block, Report};
use crate::timing::Bench;

const CLASSES: [usize; 21] = [
    2, 4, 8, 10, 16, 32, 64, 128, 256, 512, 1000, 1024, 2048, 4096, 8192, 16_384, 32_000, 50_257, 65_536, 131_072,
    262_144,
];
const MAX_ROWS: usize = 131_072;
/// On CPU adapters.
const MIB: usize = 16;

pub(crate) fn over_classes(bench: &Bench, args: &Args, report: &mut Report) -> Outcome<()> {
    let bytes = bench.logit_bytes(args.mib, MIB);
    let shapes: Vec<_> = CLASSES.iter().map(|&c| [(bytes / (4 * c)).max(1), c]).collect();
    let axis = Axis { name: "C", of: |block| block.shape[1], legend: SeriesLabelPosition::UpperRight };
    run(bench, args, report, &shapes, &axis)
}

pub(crate) fn over_rows(bench: &Bench, args: &Args, report: &mut Report) -> Outcome<()> {
    let rows = std::iter::successors(Some(1), |n| Some(2 * n)).take_while(|&n| n <= MAX_ROWS);
    let shapes: Vec<_> = rows.map(|n| [n, args.classes]).collect();
    let axis = Axis { name: "N", of: |block| block.shape[0], legend: SeriesLabelPosition::UpperLeft };
    run(bench, args, report, &shapes, &axis)
}

fn run(bench: &Bench, args: &Args, report: &mut Report, shapes: &[[usize; 2]], axis: &Axis) -> Outcome<()> {
    let ways = args.ways();
    let largest = bench.ctx.facts().map_or(0, |facts| facts.max_binding);
    let infos: Vec<&'static LossInfo> = args.losses_or(&["cross_entropy"]);
    for &shape in shapes {
        // The copies bind the logits whole.
        if 4 * (shape[0] * shape[1]) as u64 > largest {
            eprintln!("{shape:?} is left out: its logits exceed the adapter's largest binding");
            continue;
        }
        for &info in &infos {
            report.add(
                Question { info, shape, ways: &ways, modes: &MODES, rivals: true, profile: false }.measure(bench)?,
            )?;
        }
    }
    match &args.svg {
        Some(file) => plot::draw(file, axis, &lines(report.blocks(), axis)),
        None => Ok(()),
    }
}

/// One line per loss, mode, storage and forced strategy, and one per rival.
fn lines(blocks: &[Block], axis: &Axis) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for block in blocks {
        for row in block.rows.iter().filter(|row| !["copy", "read"].contains(&row.library) && row.ratio.is_finite()) {
            let library = if row.library == "deeploss" { "" } else { row.library };
            let forced = if row.is_forced() { row.strategy.as_str() } else { "" };
            let name = [library, block.op.as_str(), row.mode, row.dtype, forced];
            let name = name.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
            let point = ((axis.of)(block) as f64, row.ratio);
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { name, points: vec![point] }),
            }
        }
    }
    lines
}
