//! Rows of the report: what the driver said of a kernel, and the tables made of them.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use crate::assembly::{Assembly, Kind, Share};
use crate::family::FAMILIES;
use crate::radv::Compiled;

/// One kernel, compiled for one family in one way.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) kernel: String,
    pub(crate) strategy: String,
    pub(crate) options: String,
    pub(crate) classes: String,
    pub(crate) calls: String,
    /// 16-byte accesses are possible: classes, or items, are a multiple of 4 and neighbours in memory.
    pub(crate) fours: bool,
    pub(crate) family: String,
    pub(crate) checks: String,
    pub(crate) stats: Stats,
}

/// Numbers that are counted, each with the heading of its column.
macro_rules! stats {
    ($($field:ident: $heading:literal,)*) => {
        #[derive(Debug, Default, Clone, Copy)]
        pub(crate) struct Stats { $($field: u64,)* }

        impl Stats {
            const HEADINGS: &[&str] = &[$($heading),*];

            fn values(&self) -> Vec<u64> {
                vec![$(self.$field),*]
            }

            fn from_values(mut values: impl Iterator<Item = u64>) -> Option<Self> {
                Some(Self { $($field: values.next()?,)* })
            }
        }
    };
}

stats! {
    vgprs: "VGPRs",
    sgprs: "SGPRs",
    spilled_vgprs: "spilled VGPRs",
    spilled_sgprs: "spilled SGPRs",
    scratch: "scratch",
    lds: "LDS",
    occupancy: "waves",
    load16: "ld 16",
    load8: "ld 8",
    load4: "ld 4",
    load2: "ld 2",
    looped_load4: "ld 4 in loops",
    store16: "st 16",
    store8: "st 8",
    store4: "st 4",
    store2: "st 2",
    looped_store4: "st 4 in loops",
    barriers: "barriers",
    looped_barriers: "barriers in loops",
    instructions: "instructions",
    vector: "VALU",
    transcendental: "of them slow",
    scalar: "SALU",
    vector_of_100: "VALU for 100 classes",
    widest_loads: "widest loads",
    at_once: "at once",
}

impl Stats {
    /// `share`: of a kernel over rows, for figures per class.
    pub(crate) fn new(compiled: &Compiled, share: Option<Share>) -> Self {
        let of =
            |name: &str| compiled.statistics.iter().find(|(found, _)| found == name).map_or(0, |&(_, value)| value);
        let mut stats = Self {
            vgprs: of("VGPRs"),
            sgprs: of("SGPRs"),
            spilled_vgprs: of("Spilled VGPRs"),
            spilled_sgprs: of("Spilled SGPRs"),
            scratch: of("Scratch size"),
            lds: of("LDS size"),
            occupancy: of("Subgroups per SIMD"),
            instructions: of("Instructions"),
            ..Self::default()
        };
        let code = Assembly::new(&compiled.assembly);
        stats.vector = code.count(Kind::Vector);
        stats.transcendental = code.count(Kind::Transcendental);
        stats.scalar = code.count(Kind::Scalar);
        stats.vector_of_100 = share.map_or(0, |share| (100.0 * code.vector_per_class(share)).round() as u64);
        (stats.at_once, stats.widest_loads) = code.loads_at_once();
        for (line, _) in code.instructions().filter(|(_, mnemonic)| *mnemonic == "s_barrier") {
            stats.barriers += 1;
            stats.looped_barriers += u64::from(code.is_looped(line));
        }
        for access in code.accesses() {
            let (counted, in_loops) = match (access.is_load, access.bytes) {
                (true, 16) => (&mut stats.load16, None),
                (true, 8) => (&mut stats.load8, None),
                (true, 4) => (&mut stats.load4, Some(&mut stats.looped_load4)),
                (true, _) => (&mut stats.load2, None),
                (false, 16) => (&mut stats.store16, None),
                (false, 8) => (&mut stats.store8, None),
                (false, 4) => (&mut stats.store4, Some(&mut stats.looped_store4)),
                (false, _) => (&mut stats.store2, None),
            };
            *counted += 1;
            if let Some(in_loops) = in_loops.filter(|_| code.is_looped_access(&access)) {
                *in_loops += 1;
            }
        }
        stats
    }

    /// Registers and bytes that did not fit and went to memory.
    pub(crate) fn spills(&self) -> u64 {
        self.spilled_vgprs + self.spilled_sgprs + self.scratch
    }
}

const TEXTS: &[&str] = &["kernel", "strategy", "options", "classes", "calls", "fours", "family", "checks"];

impl Row {
    fn texts(&self) -> [&str; TEXTS.len()] {
        let fours = if self.fours { "yes" } else { "no" };
        [&self.kernel, &self.strategy, &self.options, &self.classes, &self.calls, fours, &self.family, &self.checks]
    }

    fn fields(&self) -> Vec<String> {
        let numbers = self.stats.values();
        self.texts().iter().map(|text| (*text).to_owned()).chain(numbers.iter().map(u64::to_string)).collect()
    }

    /// One line for [`Row::from_line`].
    pub(crate) fn line(&self) -> String {
        self.fields().join("\t")
    }

    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let (texts, numbers) = fields.split_at_checked(TEXTS.len())?;
        let [kernel, strategy, options, classes, calls, fours, family, checks] = texts else { return None };
        Some(Self {
            kernel: (*kernel).into(),
            strategy: (*strategy).into(),
            options: (*options).into(),
            classes: (*classes).into(),
            calls: (*calls).into(),
            fours: *fours == "yes",
            family: (*family).into(),
            checks: (*checks).into(),
            stats: Stats::from_values(numbers.iter().map_while(|number| number.parse().ok()))?,
        })
    }
}

/// Brings what the families made of one kernel together; kernels stay in the order in which the first family had them.
pub(crate) fn sort(rows: &mut [Row]) {
    let mut places = HashMap::new();
    for row in &*rows {
        let next = places.len();
        places.entry((row.kernel.clone(), row.strategy.clone(), row.options.clone())).or_insert(next);
    }
    rows.sort_by_cached_key(|row| places[&(row.kernel.clone(), row.strategy.clone(), row.options.clone())]);
}

/// The full table, columns aligned.
pub(crate) fn text(rows: &[Row]) -> String {
    let headings: Vec<String> = TEXTS.iter().chain(Stats::HEADINGS).map(|heading| (*heading).to_owned()).collect();
    let lines: Vec<Vec<String>> = [headings].into_iter().chain(rows.iter().map(Row::fields)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (column, (field, &width)) in line.iter().zip(&widths).enumerate() {
            let _ =
                if column < TEXTS.len() { write!(text, "{field:width$}  ") } else { write!(text, "{field:>width$}  ") };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

pub(crate) fn csv(rows: &[Row]) -> String {
    let headings = TEXTS.iter().chain(Stats::HEADINGS).copied().collect::<Vec<_>>().join(",");
    let quoted = |field: String| if field.contains(',') { format!("\"{field}\"") } else { field };
    let line = |row: &Row| row.fields().into_iter().map(quoted).collect::<Vec<_>>().join(",");
    [headings].into_iter().chain(rows.iter().map(line)).map(|line| line + "\n").collect()
}

/// What should not be: spills, scratch, and narrow accesses in loops where wide ones are possible; a line per kernel,
/// with the strategies and families that have it, and the most of it in one row.
pub(crate) fn findings(rows: &[Row]) -> Vec<String> {
    let spilled = |row: &Row| [row.stats.spilled_vgprs, row.stats.spilled_sgprs, row.stats.scratch];
    let narrow = |row: &Row| {
        if row.fours { [row.stats.looped_load4, row.stats.looped_store4, 0] } else { [0; 3] }
    };
    let mut lines = findings_of(rows, spilled, |[vgprs, sgprs, scratch]| {
        format!("{vgprs} VGPRs and {sgprs} SGPRs spilled, {scratch} bytes of scratch")
    });
    lines.extend(findings_of(rows, narrow, |[loads, stores, _]| {
        format!("{loads} loads and {stores} stores of 4 bytes in loops")
    }));
    lines
}

/// The rows of which some amount is not 0.
fn findings_of(rows: &[Row], amounts: impl Fn(&Row) -> [u64; 3], describe: impl Fn([u64; 3]) -> String) -> Vec<String> {
    let found: Vec<&Row> = rows.iter().filter(|row| amounts(row) != [0; 3]).collect();
    let line = |kernel: &str| {
        let own: Vec<&Row> = found.iter().copied().filter(|row| row.kernel == kernel).collect();
        let most = [0, 1, 2].map(|amount| own.iter().map(|row| amounts(row)[amount]).max().unwrap_or(0));
        let strategies = distinct(&own, |row| &row.strategy).join(", ");
        let families = distinct(&own, |row| &row.family).join(" and ");
        format!("`{kernel}`, {strategies}: up to {} ({} rows, {families})", describe(most), own.len())
    };
    distinct(&found, |row| &row.kernel).into_iter().map(line).collect()
}

/// The different texts of rows, in order.
fn distinct<'r>(rows: &[&'r Row], text: impl Fn(&'r Row) -> &'r String) -> Vec<&'r str> {
    let mut texts = Vec::new();
    for row in rows {
        if !texts.contains(&text(row).as_str()) {
            texts.push(text(row).as_str());
        }
    }
    texts
}

/// Spills that are known, as kernel, strategy and family.
///
/// Four rows of 15 classes are 60 logits in registers; with class weights and smoothing, or with a softcap, one register
/// more than the compiler gives. It is stored and loaded once.
const KNOWN_SPILLS: &[(&str, &str, &str)] = &[("cross_entropy.rows", "Tile(rows=4)", "GFX1100")];

/// Why the report is not as it should be: spills that are not known, and known ones that are gone.
pub(crate) fn complaints(rows: &[Row]) -> Vec<String> {
    let mut places: Vec<(&str, &str, &str)> = Vec::new();
    let mut spilling = Vec::new();
    for row in rows {
        let place = (row.kernel.as_str(), row.strategy.as_str(), row.family.as_str());
        places.push(place);
        if row.stats.spills() > 0 && !spilling.contains(&place) {
            spilling.push(place);
        }
    }
    let new = spilling.iter().filter(|place| !KNOWN_SPILLS.contains(place)).map(|place| format!("{place:?} spills"));
    let gone = KNOWN_SPILLS.iter().filter(|place| places.contains(place) && !spilling.contains(place));
    new.chain(gone.map(|place| format!("{place:?} no longer spills: strike it from KNOWN_SPILLS"))).collect()
}

const BEGIN: &str = "<!-- cargo xtask isa --write: begin -->\n";
const END: &str = "<!-- cargo xtask isa --write: end -->\n";

/// Replaces what stands between the markers of a file.
pub(crate) fn write(path: &Path, rows: &[Row]) -> io::Result<()> {
    let old = fs::read_to_string(path)?;
    let parts = old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| io::Error::other(format!("has no lines {BEGIN}{END}")))?;
    fs::write(path, format!("{before}{BEGIN}\n{}\n{END}{after}", markdown(rows)))
}

/// A line per kernel and strategy, over options, calls, shapes and checks; a value per family. Sums come last.
fn markdown(rows: &[Row]) -> String {
    let mut groups: Vec<(&str, &str, Vec<&Row>)> = Vec::new();
    for row in rows {
        let place = groups.iter().position(|(kernel, strategy, _)| *kernel == row.kernel && *strategy == row.strategy);
        let place = place.unwrap_or_else(|| {
            groups.push((&row.kernel, &row.strategy, Vec::new()));
            groups.len() - 1
        });
        groups[place].2.push(row);
    }
    groups.sort_by_key(|(_, strategy, _)| *strategy == "sum");
    let families: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
    let mut text = format!(
        "Values for {}: of VGPRs, waves, instructions and VALU the least and the most, of loads at once those of the \
         kernel that waits soonest, of everything else the most.\n\n\
         | kernel | strategy | variants | VGPRs | SGPRs | waves | LDS | barriers | in loops | 4-byte ld, st in loops \
         | spilled | scratch | instructions | VALU per class | loads at once |\n\
         |---|---|---:|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        families.join(" / ")
    );
    for (kernel, strategy, rows) in &groups {
        let per_family = |cell: &dyn Fn(&[&Row]) -> String| {
            let of_family = |family: &&str| {
                let own: Vec<&Row> = rows.iter().copied().filter(|row| row.family == *family).collect();
                if own.is_empty() { "-".into() } else { cell(&own) }
            };
            let values: Vec<String> = families.iter().map(of_family).collect();
            if values.iter().all(|value| *value == values[0]) { values[0].clone() } else { values.join(" / ") }
        };
        let span = |pick: fn(&Stats) -> u64| per_family(&|own| span(own, pick, u64::to_string));
        let most = |pick: fn(&Stats) -> u64| {
            per_family(&|own| own.iter().map(|row| pick(&row.stats)).max().unwrap_or(0).to_string())
        };
        let variants = rows.iter().filter(|row| row.checks == rows[0].checks && row.family == rows[0].family).count();
        let narrow = if rows.iter().any(|row| row.fours) {
            let fours: Vec<&&Row> = rows.iter().filter(|row| row.fours).collect();
            let most = |pick: fn(&Stats) -> u64| fours.iter().map(|row| pick(&row.stats)).max().unwrap_or(0);
            format!("{}, {}", most(|s| s.looped_load4), most(|s| s.looped_store4))
        } else {
            "-".into()
        };
        let _ = writeln!(
            text,
            "| `{kernel}` | {strategy} | {variants} | {} | {} | {} | {} | {} | {} | {narrow} | {} | {} | {} | {} | {} |",
            span(|s| s.vgprs),
            most(|s| s.sgprs),
            span(|s| s.occupancy),
            most(|s| s.lds),
            most(|s| s.barriers),
            most(|s| s.looped_barriers),
            most(|s| s.spilled_vgprs + s.spilled_sgprs),
            most(|s| s.scratch),
            span(|s| s.instructions),
            per_family(&per_class),
            per_family(&at_once),
        );
    }
    let findings = findings(rows);
    let _ = writeln!(text, "\n{} findings among {} rows of the full table:\n", findings.len(), rows.len());
    findings.iter().for_each(|finding| text.push_str(&format!("- {finding}\n")));
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// The least and the most of some rows.
fn span(rows: &[&Row], pick: impl Fn(&Stats) -> u64, text: impl Fn(&u64) -> String) -> String {
    let values = || rows.iter().map(|row| pick(&row.stats));
    let [least, most] = [values().min(), values().max()].map(|value| text(&value.unwrap_or(0)));
    if least == most { most } else { format!("{least}-{most}") }
}

/// Vector instructions per class, of the kernels over rows.
fn per_class(rows: &[&Row]) -> String {
    if rows.iter().all(|row| row.stats.vector_of_100 == 0) {
        return "-".into();
    }
    span(rows, |stats| stats.vector_of_100, |count| format!("{:.1}", *count as f64 / 100.0))
}

/// How many of a row's loads come before the first wait for one of them, where that is the smallest part.
fn at_once(rows: &[&Row]) -> String {
    let part = |stats: &Stats| stats.at_once * 1000 / stats.widest_loads;
    let loading = rows.iter().filter(|row| row.stats.vector_of_100 > 0 && row.stats.widest_loads > 0);
    let least = loading.min_by_key(|row| part(&row.stats));
    least.map_or("-".into(), |row| format!("{} of {}", row.stats.at_once, row.stats.widest_loads))
}

#[cfg(test)]
mod tests {
    use super::{Compiled, KNOWN_SPILLS, Row, Stats, at_once, complaints, per_class};

    #[test]
    fn accesses_are_counted_by_width_and_by_loop() {
        let assembly = "BB0:
            s_load_dwordx4 s[4:7], s[2:3], 0x0      ; c00a0101 00000000
            buffer_load_dword v1, v0, s[4:7], 0 offen
            s_cbranch_scc1 BB3
        BB1:
            buffer_load_dwordx4 v[4:7], v0, s[4:7], 0 offen
            buffer_load_b32 v1, v0, s[4:7], 0 offen
            s_barrier
            global_store_b64 v0, v[4:5], s[2:3]
            s_cbranch_scc0 BB1                      ; bf84fff0
        BB3:
            buffer_store_short v1, v0, s[8:11], 0 offen
            s_barrier";
        let statistics = vec![("VGPRs".into(), 24), ("Spilled SGPRs".into(), 3)];
        let stats = Stats::new(&Compiled { statistics, assembly: assembly.into() }, None);
        assert_eq!((stats.vgprs, stats.spills()), (24, 3));
        assert_eq!((stats.load16, stats.load8, stats.load4, stats.looped_load4), (1, 0, 2, 1));
        assert_eq!((stats.store16, stats.store8, stats.store4, stats.store2), (0, 1, 0, 1));
        assert_eq!((stats.barriers, stats.looped_barriers), (2, 1));
    }

    #[test]
    fn spills_are_complained_of_unless_they_are_known() {
        let (kernel, strategy, family) = KNOWN_SPILLS[0];
        let row = |kernel: &str, spilled_vgprs| Row {
            kernel: kernel.into(),
            strategy: strategy.into(),
            family: family.into(),
            stats: Stats { spilled_vgprs, ..Stats::default() },
            ..Row::default()
        };
        assert_eq!(complaints(&[row(kernel, 0), row(kernel, 1), row("nll.rows", 0)]), [""; 0]);
        assert_eq!(complaints(&[row("nll.rows", 1), row("nll.rows", 2)]).len(), 1);
        assert_eq!(complaints(&[row(kernel, 0)]).len(), 1);
    }

    #[test]
    fn rows_are_summed_up_by_their_span_and_by_the_one_that_waits_soonest() {
        let row = |vector_of_100, at_once| Row {
            stats: Stats { vector_of_100, at_once, widest_loads: 8, ..Stats::default() },
            ..Row::default()
        };
        let rows = [row(2580, 8), row(3551, 2), row(2580, 8)];
        let rows: Vec<&Row> = rows.iter().collect();
        assert_eq!((per_class(&rows).as_str(), at_once(&rows).as_str()), ("25.8-35.5", "2 of 8"));
        assert_eq!((per_class(&rows[..1]).as_str(), at_once(&rows[..1]).as_str()), ("25.8", "8 of 8"));
        let sum = [&Row::default()];
        assert_eq!((per_class(&sum), at_once(&sum)), ("-".into(), "-".into()));
    }

    #[test]
    fn a_row_survives_its_line() {
        let stats = Stats { vgprs: 48, instructions: 7, ..Stats::default() };
        let row = Row { kernel: "nll.rows".into(), fours: true, family: "GFX1100".into(), stats, ..Row::default() };
        assert_eq!(Row::from_line(&row.line()).unwrap().fields(), row.fields());
        assert!(Row::from_line("nll.rows\t").is_none());
    }
}
