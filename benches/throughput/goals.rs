//! What this crate promises of its speed, measured in one run.

use deeploss::{AdapterFacts, LOSSES, LossInfo};

use crate::args::Args;
use crate::case::Question;
use crate::choice::{Choice, Way};
use crate::outcome::Outcome;
use crate::overhead;
use crate::report::{Block, Layout, Report, Row, table};
use crate::storage::Storage;
use crate::timing::Bench;

const MIB: usize = 64;
/// Classes that cross-entropy is measured at.
const CLASSES: [usize; 7] = [10, 128, 1000, 1024, 4096, 32_000, 131_072];
/// Classes of the goals of the forward pass, where storage is compared too.
const FORWARD: [usize; 3] = [1000, 32_000, 131_072];
/// Columns of the element-wise losses' inputs: any number would do.
const COLUMNS: usize = 1024;
/// Rows and classes where splitting rows is compared with not splitting them.
const FEW_ROWS: [usize; 4] = [1, 2, 4, 8];
const FEW_ROWS_CLASSES: usize = 262_144;
const PLAIN: Way = (Storage::F32, Choice::Plan);

/// A ratio that was promised.
struct Goal {
    what: &'static str,
    sizes: String,
    /// `None` where this version or adapter cannot do it.
    measured: Option<f64>,
    limit: Limit,
}

enum Limit {
    AtMost(f64),
    AtLeast(f64),
    /// Told for comparison.
    Nothing,
}

impl Limit {
    fn text(&self) -> String {
        match self {
            Self::AtMost(limit) => format!("<= {limit:.2}"),
            Self::AtLeast(limit) => format!(">= {limit:.2}"),
            Self::Nothing => String::new(),
        }
    }

    fn verdict(&self, measured: Option<f64>) -> &'static str {
        let met = match (self, measured) {
            (_, None) => return "not available",
            (Self::Nothing, _) => return "",
            (Self::AtMost(limit), Some(ratio)) => ratio <= *limit,
            (Self::AtLeast(limit), Some(ratio)) => ratio >= *limit,
        };
        if met { "met" } else { "NOT MET" }
    }
}

pub(crate) fn run(bench: &Bench, args: &Args, report: &mut Report) -> Outcome<()> {
    let facts = bench.ctx.facts().ok_or("a context without a device")?;
    let bytes = args.mib.unwrap_or(MIB) << 20;
    let mut goals = Vec::new();
    for classes in CLASSES {
        let shape = [bytes / (4 * classes), classes];
        let ways = if FORWARD.contains(&classes) { &[PLAIN, (Storage::Bf16, Choice::Plan)][..] } else { &[PLAIN] };
        let block = measure(bench, "cross_entropy", shape, ways)?;
        goals.extend(of_rows(&block, facts));
        report.add(block)?;
    }
    for name in ["binary_cross_entropy_with_logits", "hinge_loss"] {
        let block = measure(bench, name, [bytes / (4 * COLUMNS), COLUMNS], &[PLAIN])?;
        let measured = ratio(&block, "both");
        let limit = at_most(facts, 1.9, 1.6);
        goals.push(Goal { what: "element-wise, sum and gradient / copy", sizes: sizes(&block), measured, limit });
        report.add(block)?;
    }
    for rows in FEW_ROWS {
        let ways = [PLAIN, (Storage::F32, Choice::unsplit(facts))];
        let block = measure(bench, "cross_entropy", [rows, FEW_ROWS_CLASSES], &ways)?;
        for (mode, what) in [
            ("loss", "few rows, forward: one group per row / plan"),
            ("both", "few rows, fused: one group per row / plan"),
        ] {
            let (ours, unsplit) = (row(&block, "deeploss", mode, false), row(&block, "deeploss", mode, true));
            let measured = ours.zip(unsplit).map(|(ours, unsplit)| unsplit.median / ours.median);
            goals.push(Goal {
                what,
                sizes: sizes(&block),
                measured,
                limit: Limit::AtLeast(if facts.is_cpu { 1.5 } else { 5.0 }),
            });
        }
        report.add(block)?;
    }
    let fixed = overhead::measure(bench)?;
    let small = |what, against: &str, limit| Goal {
        what,
        sizes: "32 x 10".into(),
        measured: fixed
            .find("deeploss", "both, 32 x 10", "f32")
            .zip(fixed.find("wgpu", against, "f32"))
            .map(|(ours, least)| ours.median / least.median),
        limit,
    };
    goals.push(small("small call, bound once / empty submit", "empty submit", at_most(facts, 1.5, 1.2)));
    goals.push(small("small call, bound once / one tiny dispatch", "1 dispatch", Limit::Nothing));
    report.add(fixed)?;
    report.finish();
    print(&goals, report, args, facts);
    Ok(())
}

fn measure(bench: &Bench, name: &str, shape: [usize; 2], ways: &[Way]) -> Outcome<Block> {
    let info: &'static LossInfo = LOSSES.iter().find(|info| info.name == name).ok_or_else(|| format!("no {name}"))?;
    Question { info, shape, ways, modes: &["loss", "both"], rivals: ways.iter().all(|(_, s)| *s == Choice::Plan) }
        .measure(bench)
}

/// The goals that one block of cross-entropy tells of.
fn of_rows(block: &Block, facts: &AdapterFacts) -> Vec<Goal> {
    let classes = block.shape[1];
    let mut goals = Vec::new();
    let mut add = |what, measured, limit| goals.push(Goal { what, sizes: sizes(block), measured, limit });
    if FORWARD.contains(&classes) {
        add("cross-entropy forward / copy", ratio(block, "loss"), at_most(facts, 0.9, 0.62));
        let wide = block.find("deeploss", "loss", "f32");
        let narrow = block.find("deeploss", "loss", "bf16");
        let measured = narrow.zip(wide).map(|(narrow, wide)| narrow.median / wide.median);
        add("cross-entropy forward, bf16 / f32", measured, at_most(facts, 0.75, 0.6));
    }
    let fused = match classes {
        0..=32 => at_most(facts, 2.2, 1.4),
        33..=255 => at_most(facts, 3.3, 1.4),
        256..=4096 => at_most(facts, 2.2, 1.2),
        _ => at_most(facts, 2.1, 1.6),
    };
    add("cross-entropy fused / copy", ratio(block, "both"), fused);
    for (mode, what) in
        [("loss", "forward, default / without guarantees"), ("both", "fused, default / without guarantees")]
    {
        // The kernel without guarantees has one group per row: it is like the default from there on.
        let fast = block.find("fast", mode, "f32").filter(|_| classes > 512);
        if let Some((ours, fast)) = block.find("deeploss", mode, "f32").zip(fast) {
            add(what, Some(ours.median / fast.median), at_most(facts, 1.25, 1.05));
        }
    }
    if let Some((ours, peer)) = block.find("deeploss", "both", "f32").zip(block.find("peer", "both", "f32")) {
        add("fused, peer-shaped kernel / ours", Some(peer.median / ours.median), Limit::Nothing);
    }
    goals
}

fn at_most(facts: &AdapterFacts, on_cpu: f64, on_gpu: f64) -> Limit {
    Limit::AtMost(if facts.is_cpu { on_cpu } else { on_gpu })
}

fn ratio(block: &Block, mode: &str) -> Option<f64> {
    block.find("deeploss", mode, "f32").map(|row| row.ratio)
}

fn row<'a>(block: &'a Block, library: &str, mode: &str, forced: bool) -> Option<&'a Row> {
    block.rows.iter().find(|r| r.library == library && r.mode == mode && r.is_forced() == forced)
}

fn sizes(block: &Block) -> String {
    let [n, c] = block.shape;
    let name = if block.op == "cross_entropy" { String::new() } else { format!("{} ", block.op) };
    format!("{name}{n} x {c}")
}

fn print(goals: &[Goal], report: &Report, args: &Args, facts: &AdapterFacts) {
    let rows: Vec<_> = goals
        .iter()
        .map(|goal| {
            let measured = goal.measured.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            vec![
                goal.what.into(),
                goal.sizes.clone(),
                measured,
                goal.limit.text(),
                goal.limit.verdict(goal.measured).into(),
            ]
        })
        .collect();
    let header = ["ratio of medians", "N x C", "measured", "goal", ""];
    println!("\ngoals on {} ({}), each a ratio within this run", facts.name, facts.backend);
    println!("\n{}", table(&header, &rows, args.layout == Layout::Markdown));
    let copies = report.blocks().iter().flat_map(|b| &b.rows).filter(|r| r.library == "copy" && r.ratio == 1.0);
    let speeds: Vec<_> = copies.filter(|r| r.bytes > 32 << 20).map(Row::gb_per_s).collect();
    let (low, high) = speeds.iter().fold((f64::INFINITY, 0.0), |(low, high), &s| (s.min(low), s.max(high)));
    println!("the best copy of each block moved {low:.1} to {high:.1} GB/s");
    let verdicts = || goals.iter().map(|goal| goal.limit.verdict(goal.measured));
    let count = |verdict: &str| verdicts().filter(|v| *v == verdict).count();
    println!("{} met, {} not met, {} not available", count("met"), count("NOT MET"), count("not available"));
    println!("against Burn and other frameworks: benches of their own");
}
