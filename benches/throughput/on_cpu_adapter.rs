//! The goals on CPU adapters: lavapipe on two shared cores.

use deeploss::{LOSSES, LossInfo};

use crate::case::Question;
use crate::choice::Way;
use crate::goal::{Goal, sizes};
use crate::outcome::Outcome;
use crate::overhead;
use crate::report::{Block, Report};
use crate::shapes::{COLUMNS, filling};
use crate::storage::Storage;
use crate::timing::Bench;

/// Classes that cross-entropy is measured at.
const CLASSES: [usize; 8] = [10, 128, 1000, 1003, 1024, 4096, 32_000, 131_072];
/// Classes of the goals of the forward pass, where storage is compared too.
const FORWARD: [usize; 3] = [1000, 32_000, 131_072];
/// No multiple of four, and its neighbour that is one.
const ODD: [usize; 2] = [1003, 1000];
const PLAIN: Way = (Storage::F32, None);

pub(crate) fn measure(bench: &Bench, bytes: usize, report: &mut Report) -> Outcome<Vec<Goal>> {
    let mut goals = Vec::new();
    for classes in CLASSES {
        let ways = if FORWARD.contains(&classes) { &[PLAIN, (Storage::Bf16, None)][..] } else { &[PLAIN] };
        let block = ask(bench, "cross_entropy", filling(bytes, Storage::F32, classes), ways)?;
        goals.extend(of_rows(&block));
        report.add(block)?;
    }
    let [odd, even] = ODD.map(|classes| report.blocks().iter().find(|block| block.shape[1] == classes));
    if let Some((odd, even)) = odd.zip(even) {
        let measured = ratio(odd, "both").zip(ratio(even, "both")).map(|(odd, even)| odd / even);
        let what = format!("cross-entropy fused, C = {} / C = {}", ODD[0], ODD[1]);
        goals.push(goal(&what, sizes(odd), measured, Some(1.4)));
    }
    for name in ["binary_cross_entropy_with_logits", "hinge_loss"] {
        let block = ask(bench, name, filling(bytes, Storage::F32, COLUMNS), &[PLAIN])?;
        let what = "element-wise, sum and gradient / copy";
        goals.push(goal(what, sizes(&block), ratio(&block, "both"), Some(1.9)));
        report.add(block)?;
    }
    let fixed = overhead::measure(bench)?;
    let small = |what, against: &str, limit| {
        let both = fixed.find("deeploss", "both, 32 x 10", "f32").zip(fixed.find("wgpu", against, "f32"));
        goal(what, "32 x 10".into(), both.map(|(ours, least)| ours.median / least.median), limit)
    };
    goals.push(small("small call, bound once / empty submit", "empty submit", Some(1.5)));
    goals.push(small("small call, bound once / one tiny dispatch", "1 dispatch", None));
    report.add(fixed)?;
    Ok(goals)
}

fn ask(bench: &Bench, name: &str, shape: [usize; 2], ways: &[Way]) -> Outcome<Block> {
    let info: &'static LossInfo = LOSSES.iter().find(|info| info.name == name).ok_or_else(|| format!("no {name}"))?;
    Question { info, shape, ways, modes: &["loss", "both"], rivals: false, profile: false }.measure(bench)
}

/// The goals that one block of cross-entropy tells of.
fn of_rows(block: &Block) -> Vec<Goal> {
    let classes = block.shape[1];
    let mut goals = Vec::new();
    let mut add = |what, measured, limit| goals.push(goal(what, sizes(block), measured, Some(limit)));
    if FORWARD.contains(&classes) {
        add("cross-entropy forward / copy", ratio(block, "loss"), 0.9);
        let wide = block.find("deeploss", "loss", "f32");
        let narrow = block.find("deeploss", "loss", "bf16");
        let measured = narrow.zip(wide).map(|(narrow, wide)| narrow.median / wide.median);
        add("cross-entropy forward, bf16 / f32", measured, 0.75);
    }
    let fused = match classes {
        33..=255 => 3.3,
        0..=4096 => 2.2,
        _ => 2.1,
    };
    if classes != ODD[0] {
        add("cross-entropy fused / copy", ratio(block, "both"), fused);
    }
    goals
}

fn goal(what: &str, sizes: String, measured: Option<f64>, limit: Option<f64>) -> Goal {
    Goal { what: what.into(), sizes, measured, predicted: None, limit }
}

fn ratio(block: &Block, mode: &str) -> Option<f64> {
    block.find("deeploss", mode, "f32").map(|row| row.ratio)
}
