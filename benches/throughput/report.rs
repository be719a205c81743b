//! Rows for people and for machines.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::outcome::Outcome;
use crate::rounds::Rounds;

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Blocks,
    Table,
    Markdown,
}

/// Ends the name of a strategy that the plan did not choose.
pub(crate) const FORCED: &str = " (forced)";

/// The library of a row that tells of one dispatch of the call above it; its label stands in place of a strategy.
pub(crate) const DISPATCH: &str = "dispatch";

/// One measurement.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Who computes: deeploss, dispatch, copy, read, peer, fast, memcpy, wgpu.
    pub(crate) library: &'static str,
    /// What.
    pub(crate) mode: &'static str,
    pub(crate) dtype: &'static str,
    /// How rows are mapped to invocations, where that is deeploss' choice or ours.
    pub(crate) strategy: String,
    /// Others are told as multiples of the best baseline with the same storage.
    pub(crate) is_baseline: bool,
    /// Bytes that must move; 0 where none do.
    pub(crate) bytes: u64,
    /// The caller's.
    pub(crate) tensor_bytes: u64,
    /// The call's own.
    pub(crate) scratch_bytes: u64,
    /// What the device's allocator says that both take, where it does.
    pub(crate) allocated_bytes: Option<u64>,
    /// Of a dispatch.
    pub(crate) workgroups: u64,
    /// Seconds, by the device's clock where it has one.
    pub(crate) median: f64,
    pub(crate) min: f64,
    /// Median seconds by the wall clock.
    pub(crate) wall: f64,
    /// Of the medians.
    pub(crate) ratio: f64,
    /// Seconds that the best baseline would take for the same bytes.
    pub(crate) floor: f64,
}

impl Row {
    /// To be timed.
    pub(crate) fn new(library: &'static str, mode: &'static str, dtype: &'static str, bytes: u64) -> Self {
        Self {
            library,
            mode,
            dtype,
            strategy: String::new(),
            is_baseline: false,
            bytes,
            tensor_bytes: 0,
            scratch_bytes: 0,
            allocated_bytes: None,
            workgroups: 0,
            median: f64::NAN,
            min: f64::NAN,
            wall: f64::NAN,
            ratio: f64::NAN,
            floor: f64::NAN,
        }
    }

    pub(crate) fn baseline(mut self) -> Self {
        self.is_baseline = true;
        self
    }

    pub(crate) fn is_forced(&self) -> bool {
        self.strategy.ends_with(FORCED)
    }

    pub(crate) fn gb_per_s(&self) -> f64 {
        1e-9 * self.bytes as f64 / self.median
    }

    /// Time as a multiple of the least.
    pub(crate) fn ratio_to_floor(&self) -> f64 {
        if self.floor > 0.0 { self.median / self.floor } else { f64::NAN }
    }
}

/// Measurements of one loss on one shape, which were taken in turn.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) op: String,
    pub(crate) shape: [usize; 2],
    pub(crate) rounds: Rounds,
    /// What the ratios are multiples of.
    pub(crate) unit: &'static str,
    pub(crate) notes: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

impl Block {
    pub(crate) fn find(&self, library: &str, mode: &str, dtype: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.library == library && row.mode == mode && row.dtype == dtype)
    }
}

const CSV_HEADER: &str = "library,op,mode,N,C,ms_median,ms_min,GB/s,ratio_to_copy,\
    dtype,strategy,rounds,tensor_bytes,scratch_bytes,allocated_bytes,ms_wall,ms_floor,ratio_to_floor,workgroups,spoiled_rounds";

/// Where measurements go as they come.
pub(crate) struct Report {
    layout: Layout,
    csv: Option<File>,
    blocks: Vec<Block>,
}

impl Report {
    /// With a CSV file too, where one is named.
    pub(crate) fn new(layout: Layout, csv: Option<&Path>) -> Outcome<Self> {
        let mut csv = match csv {
            Some(path) => Some(File::create(path).map_err(|e| format!("cannot write {}: {e}", path.display()))?),
            None => None,
        };
        if let Some(file) = &mut csv {
            writeln!(file, "{CSV_HEADER}")?;
        }
        Ok(Self { layout, csv, blocks: Vec::new() })
    }

    pub(crate) fn add(&mut self, block: Block) -> Outcome<()> {
        let [n, c] = block.shape;
        if let Some(file) = &mut self.csv {
            for row in &block.rows {
                writeln!(file, "{}", csv_line(&block, row))?;
            }
        }
        match self.layout {
            Layout::Blocks => print_block(&block),
            Layout::Table | Layout::Markdown => eprintln!("{} ({n}, {c}), {}", block.op, block.rounds),
        }
        self.blocks.push(block);
        Ok(())
    }

    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The table of all rows, where one is asked for.
    pub(crate) fn finish(&self) {
        if self.layout == Layout::Blocks {
            return;
        }
        let header = [
            "op",
            "N",
            "C",
            "dtype",
            "library",
            "mode",
            "strategy",
            "ms",
            "ms min",
            "ms wall",
            "GB/s",
            "x copy",
            "ms floor",
            "x floor",
            "MiB",
            "scratch KiB",
        ];
        let line = |block: &Block, row: &Row| {
            let [n, c] = block.shape;
            [
                block.op.clone(),
                n.to_string(),
                c.to_string(),
                row.dtype.into(),
                row.library.into(),
                row.mode.into(),
                row.strategy.clone(),
            ]
            .into_iter()
            .chain(figures(row))
            .collect()
        };
        let rows: Vec<_> = self.blocks.iter().flat_map(|b| b.rows.iter().map(move |row| line(b, row))).collect();
        println!("\n{}", table(&header, &rows, self.layout == Layout::Markdown));
        let mut told = Vec::new();
        for note in self.blocks.iter().flat_map(|block| &block.notes) {
            if !told.contains(&note) {
                println!("{note}");
                told.push(note);
            }
        }
    }
}

/// What every table tells of a row.
fn figures(row: &Row) -> [String; 9] {
    [
        format!("{:.4}", 1e3 * row.median),
        format!("{:.4}", 1e3 * row.min),
        number(1e3 * row.wall, 4),
        number(row.gb_per_s(), 2),
        number(row.ratio, 2),
        number(1e3 * row.floor, 4),
        number(row.ratio_to_floor(), 2),
        number(row.tensor_bytes as f64 / 1_048_576.0, 1),
        number(row.scratch_bytes as f64 / 1024.0, 1),
    ]
}

/// Empty where there is nothing to tell.
fn number(value: f64, digits: usize) -> String {
    if value.is_finite() && value != 0.0 { format!("{value:.digits$}") } else { String::new() }
}

fn csv_line(block: &Block, row: &Row) -> String {
    let [n, c] = block.shape;
    let Rounds { kept, spoiled } = block.rounds;
    let Row { library, mode, dtype, strategy, tensor_bytes, scratch_bytes, .. } = row;
    let (median, min, wall) = (1e3 * row.median, 1e3 * row.min, number(1e3 * row.wall, 5));
    let (speed, ratio) = (number(row.gb_per_s(), 3), number(row.ratio, 3));
    let (floor, ratio_to_floor) = (number(1e3 * row.floor, 5), number(row.ratio_to_floor(), 3));
    let allocated = row.allocated_bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
    let workgroups = number(row.workgroups as f64, 0);
    format!(
        "{library},{},{mode},{n},{c},{median:.5},{min:.5},{speed},{ratio},\
         {dtype},{strategy},{kept},{tensor_bytes},{scratch_bytes},{allocated},\
         {wall},{floor},{ratio_to_floor},{workgroups},{spoiled}",
        block.op
    )
}

fn print_block(block: &Block) {
    let [n, c] = block.shape;
    println!("\n{} ({n}, {c}), {}", block.op, block.rounds);
    let unit = format!("x {}", block.unit);
    let titles = ["ms median", "ms min", "ms wall", "GB/s", &unit, "ms floor", "x floor", "MiB", "scratch KiB"];
    let line = |name: &str, cells: &[&str]| {
        let widths = [10, 10, 10, 8, 8, 9, 8, 8, 11];
        let cells: String = cells.iter().zip(widths).map(|(cell, width)| format!(" {cell:>width$}")).collect();
        println!("  {name:36}{cells}");
    };
    line("", &titles);
    for row in block.rows.iter().filter(|row| row.library != DISPATCH) {
        let name = [if row.library == "deeploss" { "" } else { row.library }, row.mode, row.dtype, &row.strategy];
        let name = name.into_iter().filter(|part| !part.is_empty() && *part != "f32").collect::<Vec<_>>().join(" ");
        line(&name, &figures(row).each_ref().map(String::as_str));
    }
    block.notes.iter().for_each(|note| println!("  {note}"));
    if block.rows.iter().any(|row| row.library == DISPATCH) {
        print_dispatches(block);
    }
}

/// What each dispatch of a call takes of its time. Together they can take more than the call, in which neighbours overlap.
fn print_dispatches(block: &Block) {
    let mut call = None;
    let mut rows = Vec::new();
    for row in &block.rows {
        let (name, workgroups, whole) = match (row.library, call) {
            ("deeploss", _) => {
                call = Some(row);
                (format!("{} {} {}", row.mode, row.dtype, row.strategy), String::new(), row)
            }
            (DISPATCH, Some(call)) => (format!("  {}", row.strategy), row.workgroups.to_string(), call),
            _ => continue,
        };
        let share = format!("{:.1}", 100.0 * row.median / whole.median);
        rows.push(vec![name, workgroups, format!("{:.2}", 1e6 * row.median), number(row.ratio, 3), share]);
    }
    let header = ["call, and its dispatches", "workgroups", "us", &format!("x {}", block.unit), "% of the call"];
    println!("\n{}", table(&header, &rows, false));
}

/// Aligned columns, numbers to the right; with bars it is Markdown too.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>], markdown: bool) -> String {
    let cells = |k: usize| rows.iter().map(move |row| row[k].as_str());
    let widths: Vec<usize> = (0..header.len())
        .map(|k| cells(k).chain([header[k]]).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let numeric: Vec<bool> =
        (0..header.len()).map(|k| cells(k).all(|cell| cell.is_empty() || cell.parse::<f64>().is_ok())).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).zip(&numeric).map(|((cell, &width), &numeric)| {
            if numeric { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        let padded: Vec<_> = padded.collect();
        let text = if markdown { format!("| {} |", padded.join(" | ")) } else { padded.join("  ") };
        format!("{}\n", text.trim_end())
    };
    let mut text = line(&mut header.iter().copied());
    if markdown {
        let rule = widths.iter().zip(&numeric).map(|(&width, &numeric)| {
            let dashes = "-".repeat(width + 1);
            if numeric { format!("|{dashes}:") } else { format!("|{dashes}-") }
        });
        text.push_str(&format!("{}|\n", rule.collect::<String>()));
    }
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}
