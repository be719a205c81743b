//! Ratios that are promised, and what became of them.

use crate::report::{Block, table};

/// A ratio that was promised.
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) sizes: String,
    /// `None` where this adapter cannot do it.
    pub(crate) measured: Option<f64>,
    /// What is expected to come out, where somebody has dared to say so.
    pub(crate) predicted: Option<f64>,
    /// At most; `None` where it is told for comparison.
    pub(crate) limit: Option<f64>,
}

impl Goal {
    fn verdict(&self) -> &'static str {
        match (self.measured, self.limit) {
            (None, _) => "not available",
            (_, None) => "",
            (Some(ratio), Some(limit)) if ratio <= limit => "met",
            _ => "NOT MET",
        }
    }
}

/// As N x C, of any loss but cross-entropy with its name.
pub(crate) fn sizes(block: &Block) -> String {
    let [n, c] = block.shape;
    let name = if block.op == "cross_entropy" { String::new() } else { format!("{} ", block.op) };
    format!("{name}{n} x {c}")
}

pub(crate) fn print(goals: &[Goal], markdown: bool) {
    let ratio = |ratio: Option<f64>| ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    let line = |goal: &Goal| {
        let limit = goal.limit.map(|limit| format!("<= {limit:.2}")).unwrap_or_default();
        let (measured, predicted) = (ratio(goal.measured), ratio(goal.predicted));
        vec![goal.what.clone(), goal.sizes.clone(), measured, predicted, limit, goal.verdict().into()]
    };
    let mut header = vec!["ratio of medians", "N x C", "measured", "predicted", "goal", ""];
    let mut rows: Vec<_> = goals.iter().map(line).collect();
    if goals.iter().all(|goal| goal.predicted.is_none()) {
        let column = 3;
        header.remove(column);
        rows.iter_mut().for_each(|row| drop(row.remove(column)));
    }
    println!("\n{}", table(&header, &rows, markdown));
    let count = |verdict: &str| goals.iter().filter(|goal| goal.verdict() == verdict).count();
    println!("{} met, {} not met, {} not available", count("met"), count("NOT MET"), count("not available"));
}
