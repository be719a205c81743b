//! What this crate promises of its speed, measured in one run.

use deeploss::AdapterFacts;

use crate::args::Args;
use crate::goal;
use crate::outcome::Outcome;
use crate::report::{Layout, Report, Row};
use crate::timing::Bench;
use crate::{on_cpu_adapter, on_gpu, peers};

/// On CPU adapters.
const MIB: usize = 64;

pub(crate) fn run(bench: &Bench, args: &Args, report: &mut Report) -> Outcome<()> {
    let AdapterFacts { name, backend, .. } = bench.ctx.facts().ok_or("a context without a device")?;
    let bytes = bench.logit_bytes(args.mib, MIB);
    let goals = if bench.on_cpu {
        on_cpu_adapter::measure(bench, bytes, report)?
    } else {
        on_gpu::measure(bench, bytes, report)?
    };
    report.finish();
    let markdown = args.layout == Layout::Markdown;
    println!("\ngoals on {name} ({backend}), each a ratio within this run");
    goal::print(&goals, markdown);
    let copies = report.blocks().iter().flat_map(|b| &b.rows).filter(|r| r.library == "copy" && r.ratio == 1.0);
    let mut speeds: Vec<_> = copies.filter(|r| r.bytes > 32 << 20).map(Row::gb_per_s).collect();
    speeds.sort_by(f64::total_cmp);
    if let (Some(low), Some(high)) = (speeds.first(), speeds.last()) {
        println!("the best copy of each block moved {low:.1} to {high:.1} GB/s");
    }
    let spoiled: usize = report.blocks().iter().map(|block| block.rounds.spoiled).sum();
    println!("{spoiled} spoiled rounds repeated");
    if !bench.on_cpu {
        peers::print(report.blocks(), name, markdown);
    }
    Ok(())
}
