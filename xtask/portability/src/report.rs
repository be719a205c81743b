//! The matrix: what each target made of the programs of each loss.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use crate::targets::Target;
use crate::worker::Answer;

/// What is given to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To be compiled.
    Program,
    /// To be computed.
    Case,
}

/// One target.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    about: &'static str,
    goal: Option<f64>,
    /// Its version; why it is not here.
    version: Result<String, String>,
    rows: Vec<Row>,
}

/// One program or case on a target.
struct Row {
    kind: Kind,
    loss: &'static str,
    what: String,
    answer: Answer,
}

impl Column {
    pub(crate) fn new(target: &dyn Target, version: String) -> Self {
        Self { name: target.name(), about: target.about(), goal: target.goal(), version: Ok(version), rows: Vec::new() }
    }

    pub(crate) fn missing(target: &dyn Target, why: String) -> Self {
        Self { version: Err(why), ..Self::new(target, String::new()) }
    }

    pub(crate) fn add(&mut self, kind: Kind, loss: &'static str, what: String, answer: Answer) {
        self.rows.push(Row { kind, loss, what, answer });
    }

    pub(crate) fn is_here(&self) -> bool {
        self.version.is_ok()
    }

    /// Whether something was given to it, and nothing was refused or wrong.
    pub(crate) fn is_fine(&self) -> bool {
        !self.rows.is_empty() && !self.has_faults()
    }

    pub(crate) fn has_faults(&self) -> bool {
        self.rows.iter().any(|row| row.answer.fault.is_some())
    }

    fn of(&self, kind: Kind) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.kind == kind).collect()
    }

    fn of_loss(&self, kind: Kind, loss: &str) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.kind == kind && row.loss == loss).collect()
    }

    /// What came of it, in a few lines.
    pub(crate) fn summary(&self) -> String {
        let version = match &self.version {
            Ok(version) => version,
            Err(why) => return format!("{}: not here: {why}\n", self.name),
        };
        let mut text = format!("{} ({version})\n", self.name);
        for (kind, what, bad) in [(Kind::Program, "programs", "refused"), (Kind::Case, "cases", "wrong")] {
            let rows = self.of(kind);
            if !rows.is_empty() {
                let faults = rows.iter().filter(|row| row.answer.fault.is_some()).count();
                let times = times(&rows).map_or_else(String::new, |[median, worst]| {
                    format!("; CPU seconds each: {median:.2}, at most {worst:.2}")
                });
                let _ = writeln!(text, "  {} {what}, {faults} {bad}{times}", rows.len());
            }
        }
        self.findings().iter().for_each(|finding| text += &format!("  - {finding}\n"));
        text
    }

    /// Of each loss what was refused or wrong, by the first message; and programs that take longer than the goal.
    fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for loss in losses(std::slice::from_ref(self)) {
            for (kind, bad) in [(Kind::Program, "programs refused"), (Kind::Case, "cases wrong")] {
                let rows = self.of_loss(kind, loss);
                let faults: Vec<&&Row> = rows.iter().filter(|row| row.answer.fault.is_some()).collect();
                if let Some(Row { what, answer: Answer { fault: Some(fault), .. }, .. }) = faults.first() {
                    let (what, fault) = (shortened(what, 200), shortened(fault, 400));
                    findings.push(format!("{loss}: {} of {} {bad}: {what}: {fault}", faults.len(), rows.len()));
                }
            }
            let goal = self.goal.unwrap_or(f64::INFINITY);
            let rows = self.of_loss(Kind::Program, loss);
            let slow: Vec<&Row> = rows.into_iter().filter(|row| row.answer.seconds > goal).collect();
            if let Some(slowest) = slow.iter().max_by(|a, b| a.answer.seconds.total_cmp(&b.answer.seconds)) {
                let (seconds, what) = (slowest.answer.seconds, shortened(&slowest.what, 200));
                findings.push(format!("{loss}: {} over {goal} CPU seconds, {seconds:.1} for {what}", slow.len()));
            }
        }
        findings
    }
}

/// The beginning of a text; all of it is in the table of --csv.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Median and maximum of the CPU seconds, where they were counted.
fn times(rows: &[&Row]) -> Option<[f64; 2]> {
    let mut seconds: Vec<f64> = rows.iter().map(|row| row.answer.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let worst = seconds.last().copied().filter(|&worst| worst > 0.0)?;
    Some([seconds[seconds.len() / 2], worst])
}

/// Losses in the order in which they come.
fn losses(columns: &[Column]) -> Vec<&'static str> {
    let mut losses = Vec::new();
    for row in columns.iter().flat_map(|column| &column.rows) {
        if !losses.contains(&row.loss) {
            losses.push(row.loss);
        }
    }
    losses
}

/// What stands in the matrix for a loss on a target: programs compiled and the CPU seconds of the slowest, cases passed.
fn cell(column: &Column, loss: &str) -> String {
    if !column.is_here() {
        return "not here".into();
    }
    let mut parts = Vec::new();
    for (kind, good, bad) in [(Kind::Program, "compiled", "REFUSED"), (Kind::Case, "passed", "WRONG")] {
        let rows = column.of_loss(kind, loss);
        let faults = rows.iter().filter(|row| row.answer.fault.is_some()).count();
        match (rows.len(), faults) {
            (0, _) => {}
            (all, 0) => parts.push(format!("{all} {good}")),
            (all, faults) => parts.push(format!("{faults} of {all} {bad}")),
        }
        if kind == Kind::Program
            && let Some([_, worst]) = times(&rows)
        {
            parts.push(format!("{worst:.2} s"));
        }
    }
    if parts.is_empty() { "-".into() } else { parts.join(", ") }
}

/// Losses by targets; the first line has the names of the targets.
fn matrix(columns: &[Column]) -> Vec<Vec<String>> {
    let head = ["loss".to_owned()].into_iter().chain(columns.iter().map(|column| column.name.to_owned()));
    let row = |loss: &'static str| {
        [loss.to_owned()].into_iter().chain(columns.iter().map(|column| cell(column, loss))).collect()
    };
    [head.collect()].into_iter().chain(losses(columns).into_iter().map(row)).collect()
}

/// The matrix with its columns aligned.
pub(crate) fn text(columns: &[Column]) -> String {
    let lines = matrix(columns);
    let width = |place: usize| lines.iter().map(|line| line[place].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let line = |cells: &Vec<String>| {
        let cells: Vec<String> = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

const BEGIN: &str = "<!-- cargo xtask portability --write: begin -->\n";
const END: &str = "<!-- cargo xtask portability --write: end -->\n";

/// Replaces what stands between the markers of a file.
pub(crate) fn write(path: &Path, columns: &[Column], extent: &str) -> io::Result<()> {
    let old = fs::read_to_string(path)?;
    let parts = old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| io::Error::other(format!("has no lines {BEGIN}{END}")))?;
    fs::write(path, format!("{before}{BEGIN}\n{}\n{END}{after}", markdown(columns, extent)))
}

/// `extent`: when, and what of it.
fn markdown(columns: &[Column], extent: &str) -> String {
    let mut text = format!(
        "{extent} Seconds are of the CPU, for one program.\n\n\
         | target | what it stands for | version | programs | cases | median, worst, goal |\n|---|---|---|---|---|---|\n"
    );
    for column in columns {
        let tried = |kind, bad| {
            let rows = column.of(kind);
            let faults = rows.iter().filter(|row| row.answer.fault.is_some()).count();
            match (rows.len(), faults) {
                (0, _) => "-".into(),
                (all, 0) => all.to_string(),
                (all, faults) => format!("{all}, {faults} {bad}"),
            }
        };
        let goal = column.goal.map_or("-".into(), |goal| goal.to_string());
        let times = times(&column.of(Kind::Program));
        let times = times.map_or("-".into(), |[median, worst]| format!("{median:.2}, {worst:.2}, {goal}"));
        let version = column.version.as_deref().unwrap_or("not here");
        let (programs, cases) = (tried(Kind::Program, "refused"), tried(Kind::Case, "wrong"));
        let _ = writeln!(text, "| {} | {} | {version} | {programs} | {cases} | {times} |", column.name, column.about);
    }
    text.push('\n');
    for (number, cells) in matrix(columns).iter().enumerate() {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if number == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(cells.len()));
        }
    }
    let mut findings = Vec::new();
    for column in columns {
        findings.extend(column.findings().iter().map(|finding| format!("- {}: {}\n", column.name, escaped(finding))));
    }
    let _ = writeln!(text, "\n{} findings{}", findings.len(), if findings.is_empty() { "." } else { ":\n" });
    text + &findings.concat()
}

/// Nothing of a compiler's message is markup.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| ['\\', c].into_iter().skip(usize::from(!"\\`*_<>[]|".contains(c)))).collect()
}

pub(crate) fn csv(columns: &[Column]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut text = String::from("target,loss,seconds,fault,program\n");
    for column in columns {
        for Row { loss, what, answer, .. } in &column.rows {
            let fault = answer.fault.as_deref().unwrap_or_default();
            let _ = writeln!(text, "{},{loss},{:.4},{},{}", column.name, answer.seconds, quoted(fault), quoted(what));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Answer, Column, Kind, cell, escaped, markdown, matrix};

    fn column(faults: &[Option<&str>]) -> Column {
        let mut column =
            Column { name: "x", about: "for tests", goal: Some(1.0), version: Ok("1".into()), rows: Vec::new() };
        for fault in faults {
            let answer = Answer { seconds: 2.0, fault: fault.map(str::to_owned) };
            column.add(Kind::Program, "nll_loss", "a program".into(), answer);
        }
        column
    }

    #[test]
    fn what_was_refused_is_not_fine() {
        assert!(column(&[None, None]).is_fine());
        let refused = column(&[None, Some("error X1: no")]);
        assert!(!refused.is_fine());
        assert_eq!(cell(&refused, "nll_loss"), "1 of 2 REFUSED, 2.00 s");
        assert!(refused.summary().contains("error X1: no"));
        assert!(markdown(&[refused], "today").contains("2, 1 refused"));
    }

    #[test]
    fn what_is_not_here_has_not_passed() {
        let missing = Column { version: Err("no driver".into()), rows: Vec::new(), ..column(&[]) };
        assert!(!missing.is_fine() && !missing.is_here());
        assert_eq!(matrix(&[missing, column(&[None])])[1][1..], ["not here", "1 compiled, 2.00 s"]);
    }

    #[test]
    fn nothing_tried_is_not_fine() {
        assert!(!column(&[]).is_fine());
        assert_eq!(cell(&column(&[]), "nll_loss"), "-");
    }

    #[test]
    fn slow_programs_are_found() {
        assert_eq!(column(&[None]).findings().len(), 1);
    }

    #[test]
    fn messages_are_no_markup() {
        assert_eq!(escaped("a_b <c>"), "a\\_b \\<c\\>");
    }
}
