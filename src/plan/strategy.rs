//! How rows are mapped to invocations: the strategies, and the tables that choose one by adapter and shape.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::adapter::AdapterFacts;
use crate::error::Error;
use crate::problem::RowShape;
use crate::wgsl::variant::Group;

/// How rows are mapped to invocations.
///
/// As text: `thread`, `tile:2`, `subgroup:8`, `workgroup:256`, `kept:64`, `split:8x4`.
///
/// ```
/// use deeploss::RowStrategy;
/// let split: RowStrategy = "split:8x4".parse()?;
/// assert_eq!(split, RowStrategy::Split { lanes: 8, parts: 4 });
/// assert_eq!(split.to_string(), "split:8x4");
/// # Ok::<(), deeploss::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RowStrategy {
    /// One invocation per row (per position, where the class axis is not last).
    Thread,
    /// One invocation per `rows` rows of few classes, read once and kept in registers.
    Tile {
        /// Rows of an invocation: 1, 2 or 4, such that they begin and end at a multiple of four logits.
        rows: u32,
    },
    /// One subgroup per row, which is its whole workgroup: no barriers.
    Subgroup {
        /// Size of the subgroup.
        lanes: u32,
    },
    /// One workgroup per row, reduced in workgroup memory.
    Workgroup {
        /// Invocations of the workgroup.
        lanes: u32,
    },
    /// The same, and the row is read once and kept in workgroup memory for the gradient.
    Kept {
        /// Invocations of the workgroup.
        lanes: u32,
    },
    /// Several groups per row, for few long rows: a subgroup each where `lanes` is its size, else a workgroup.
    Split {
        /// Invocations of a group.
        lanes: u32,
        /// Groups of a row, at most as many as lanes.
        parts: u32,
    },
}

impl fmt::Display for RowStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread => f.pad("thread"),
            Self::Tile { rows } => f.pad(&format!("tile:{rows}")),
            Self::Subgroup { lanes } => f.pad(&format!("subgroup:{lanes}")),
            Self::Workgroup { lanes } => f.pad(&format!("workgroup:{lanes}")),
            Self::Kept { lanes } => f.pad(&format!("kept:{lanes}")),
            Self::Split { lanes, parts } => f.pad(&format!("split:{lanes}x{parts}")),
        }
    }
}

impl FromStr for RowStrategy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let (way, sizes) = text.split_once(':').unwrap_or((text, ""));
            let one = || sizes.parse().ok().filter(|&size: &u32| size > 0);
            Some(match way {
                "thread" if way == text => Self::Thread,
                "tile" => Self::Tile { rows: one()? },
                "subgroup" => Self::Subgroup { lanes: one()? },
                "workgroup" => Self::Workgroup { lanes: one()? },
                "kept" => Self::Kept { lanes: one()? },
                "split" => {
                    let (lanes, parts) = sizes.split_once('x')?;
                    Self::Split { lanes: lanes.parse().ok()?, parts: parts.parse().ok()? }
                }
                _ => return None,
            })
        };
        let forms = "thread, tile:ROWS, subgroup:LANES, workgroup:LANES, kept:LANES or split:LANESxPARTS";
        // Only what `Display` writes: no signs, no leading zeros.
        let strategy = read().filter(|strategy| strategy.lanes() > 0 && strategy.to_string() == text);
        strategy.ok_or_else(|| Error::value("strategy", forms, format!("`{text}`")))
    }
}

/// A strategy, and why it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) strategy: RowStrategy,
    pub(crate) reason: &'static str,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.strategy, self.reason)
    }
}

/// Invocations of a workgroup whose invocations are independent.
pub(crate) const INDEPENDENT: u32 = 64;
/// Logits that an invocation can keep: the length of `tile` in rows/driver/tile.wgsl.
const TILE_LOGITS: usize = 64;
/// lavapipe ends an invocation silently after 65 535 loop iterations in all its loops together.
const MAX_ITERATIONS: usize = 60_000;
/// Groups that keep a device busy when few rows are split; more only add partial sums to join.
const BUSY_GROUPS: usize = 512;
/// Bytes of a vector in workgroup memory.
const FOUR_BYTES: usize = 16;

/// One line of a table: where a way to go about the rows is the one to take.
struct Regime {
    classes: RangeInclusive<usize>,
    rows: RangeInclusive<usize>,
    way: Way,
    why: &'static str,
}

/// A strategy but for what follows from adapter and shape.
#[derive(Clone, Copy)]
enum Way {
    Thread,
    Tile,
    Subgroup,
    Workgroup(u32),
    Kept(u32),
    Split(u32),
}

const ANY: RangeInclusive<usize> = 0..=usize::MAX;

const fn regime(classes: RangeInclusive<usize>, rows: RangeInclusive<usize>, way: Way, why: &'static str) -> Regime {
    Regime { classes, rows, way, why }
}

/// GPUs: the first line that holds and that the adapter can run.
const GPU: &[Regime] = &[
    regime(0..=32, ANY, Way::Tile, "few classes: a thread keeps whole rows in registers, one read"),
    regime(0..=32, ANY, Way::Thread, "few classes: lanes of a group would idle"),
    regime(33..=256, ANY, Way::Subgroup, "a subgroup per row: no barrier"),
    regime(16_384..=usize::MAX, 0..=64, Way::Split(256), "few long rows: one group each would leave the device idle"),
    regime(0..=1024, ANY, Way::Kept(64), "a workgroup per row, kept in workgroup memory: one read"),
    regime(1025..=8192, ANY, Way::Kept(256), "a workgroup per row, kept in workgroup memory: one read"),
    regime(0..=1024, ANY, Way::Workgroup(64), "a workgroup per row, read twice"),
    regime(ANY, ANY, Way::Workgroup(256), "a workgroup per row, read twice, the second time from the cache"),
];

/// CPU adapters: lanes are SIMD, barriers cost more than anything else, and the row lies in a cache anyway.
const CPU: &[Regime] = &[
    regime(0..=16, ANY, Way::Tile, "CPU adapter, few classes: a thread keeps whole rows in registers, one read"),
    regime(0..=512, ANY, Way::Thread, "CPU adapter: neighbouring rows share the cost of opening and closing a row"),
    regime(
        513..=1024,
        256..=usize::MAX,
        Way::Thread,
        "CPU adapter: many rows share the cost of opening and closing a row",
    ),
    regime(16_384..=usize::MAX, 0..=1, Way::Split(8), "CPU adapter: one long row, more cores"),
    regime(ANY, ANY, Way::Subgroup, "CPU adapter: barriers are expensive, a subgroup needs none"),
    regime(ANY, ANY, Way::Thread, "CPU adapter without a fixed subgroup size: a thread needs no barriers"),
    regime(ANY, ANY, Way::Workgroup(256), "CPU adapter: fewer lanes would loop too often"),
];

/// What a row kernel is asked for, besides the adapter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    pub(crate) shape: RowShape,
    /// Lists of labels, compared class by class: neither kept, split nor tiled.
    pub(crate) lists: bool,
}

impl RowStrategy {
    /// Lanes that share a row (or a part of one).
    #[must_use]
    pub fn lanes(self) -> u32 {
        match self {
            Self::Thread | Self::Tile { .. } => 1,
            Self::Subgroup { lanes } | Self::Workgroup { lanes } | Self::Kept { lanes } | Self::Split { lanes, .. } => {
                lanes
            }
        }
    }

    /// Invocations of a workgroup.
    pub(crate) fn workgroup(self) -> u32 {
        match self {
            Self::Thread | Self::Tile { .. } => INDEPENDENT,
            _ => self.lanes(),
        }
    }

    /// Rows that a workgroup takes, if it takes whole ones.
    pub(crate) fn rows_per_workgroup(self) -> usize {
        let rows = if let Self::Tile { rows } = self { rows } else { 1 };
        (rows * self.workgroup() / self.lanes()) as usize
    }

    /// Fours of each part of a split row: whole blocks of all lanes.
    pub(crate) fn part_fours(self, classes: usize) -> usize {
        let parts = if let Self::Split { parts, .. } = self { parts as usize } else { 1 };
        classes.div_ceil(4).div_ceil(parts).next_multiple_of(4 * self.lanes() as usize)
    }

    /// Loop iterations at most, of all the loops that the rows of one SIMD vector may take between them: sums over the classes
    /// by blocks of four fours; the gradient, the zeros of an ignored row, a second pass and the search for -inf by single
    /// fours; with lists of labels, three times every four against every four.
    pub(crate) fn iterations(self, classes: usize, lists: bool) -> usize {
        let lanes = self.lanes() as usize;
        let fours = match self {
            Self::Split { .. } => self.part_fours(classes) / lanes,
            _ => classes.div_ceil(4 * lanes),
        };
        // `classify` of cross-entropy searches the whole row, whatever the part.
        let search = classes.div_ceil(4 * lanes);
        if lists { 3 * fours * classes.div_ceil(4) } else { 3 * fours + search + fours / 4 + 4 }
    }

    /// Whether the adapter can run it on rows of so many classes.
    #[must_use]
    pub fn serves(self, facts: &AdapterFacts, classes: usize) -> bool {
        let shape = RowShape { outer: usize::MAX, classes, inner: 1, axis: 1 };
        self.runs(facts, Demand { shape, lists: false })
    }

    pub(crate) fn runs(self, facts: &AdapterFacts, demand: Demand) -> bool {
        let Demand { shape, lists, .. } = demand;
        let workgroup = |lanes: u32, bytes: usize| {
            // group/workgroup.wgsl: sixteen lanes combine four cells each at least, and leave sixteen more.
            let cells = 4 * (lanes as usize + 16);
            let memory = facts.max_workgroup_memory as usize;
            lanes.is_power_of_two() && (64..=facts.max_invocations).contains(&lanes) && cells + bytes <= memory
        };
        let fits = match self {
            Self::Thread => true,
            Self::Tile { rows } => {
                let logits = rows as usize * shape.classes;
                let whole = [1, 2, 4].contains(&rows) && logits.is_multiple_of(4) && logits <= TILE_LOGITS;
                whole && shape.inner == 1 && !lists
            }
            Self::Subgroup { lanes } => facts.subgroup == Some((lanes, lanes)),
            Self::Workgroup { lanes } => workgroup(lanes, 0),
            Self::Kept { lanes } => {
                lanes > 0 && !lists && workgroup(lanes, FOUR_BYTES.saturating_mul(shape.classes.div_ceil(4)))
            }
            Self::Split { lanes, parts } => {
                let group = facts.subgroup == Some((lanes, lanes)) || (!facts.is_cpu && workgroup(lanes, 0));
                // A part that would have no fours would read past the row.
                let whole = parts > 0 && parts <= lanes && {
                    let fours = shape.classes.div_ceil(4);
                    self.part_fours(shape.classes) * (parts as usize - 1) < fours
                };
                group && whole && shape.inner == 1 && !lists && facts.max_storage_buffers >= 8
            }
        };
        fits && (!facts.is_cpu || self.iterations(shape.classes, lists) <= MAX_ITERATIONS)
    }

    /// The strategy for rows of this shape on this adapter, and the reason.
    pub(crate) fn choose(facts: &AdapterFacts, demand: Demand) -> Choice {
        let thread = |reason| Choice { strategy: Self::Thread, reason };
        if demand.shape.inner > 1 {
            return thread("class axis not last: neighbouring positions are neighbours in memory");
        }
        let first = Self::candidates(facts, demand).into_iter().next();
        first.unwrap_or(thread("no other strategy serves this adapter"))
    }

    /// Every line of the adapter's table that holds for the shape and that the adapter can run, the best guess first.
    pub(crate) fn candidates(facts: &AdapterFacts, demand: Demand) -> Vec<Choice> {
        let shape = demand.shape;
        let table = if facts.is_cpu { CPU } else { GPU };
        table
            .iter()
            .filter(|regime| regime.classes.contains(&shape.classes) && regime.rows.contains(&shape.rows()))
            .filter_map(|regime| Some(Choice { strategy: regime.way.strategy(facts, shape)?, reason: regime.why }))
            .filter(|choice| choice.strategy.runs(facts, demand))
            .collect()
    }

    /// What is worth measuring: the table's candidates, and everything near them that the adapter can run.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn worth_measuring(facts: &AdapterFacts, demand: Demand) -> Vec<Self> {
        let near = [Way::Thread, Way::Subgroup, Way::Split(256)].map(|way| way.strategy(facts, demand.shape));
        let tiles = [1, 2, 4].map(|rows| Self::Tile { rows });
        // On CPU adapters barriers decide, and such kernels take seconds to compile.
        let shared: &[u32] = if facts.is_cpu { &[64] } else { &[64, 128, 256, 512, 1024] };
        let shared = shared.iter().flat_map(|&lanes| [Self::Kept { lanes }, Self::Workgroup { lanes }]);
        let mut found: Vec<_> = Self::candidates(facts, demand).into_iter().map(|choice| choice.strategy).collect();
        for strategy in near.into_iter().flatten().chain(tiles).chain(shared) {
            let whole = matches!(strategy, Self::Split { parts: 0 | 1, .. });
            if !whole && !found.contains(&strategy) && strategy.runs(facts, demand) {
                found.push(strategy);
            }
        }
        found
    }

    /// Chunks of items, which have one strategy.
    pub(crate) fn for_items(facts: &AdapterFacts) -> Choice {
        let strategy = match Self::reduction_group(facts) {
            Group::Subgroup { lanes } => Self::Subgroup { lanes },
            group => Self::Workgroup { lanes: group.lanes() },
        };
        Choice { strategy, reason: "element-wise: consecutive chunks" }
    }

    /// The lanes that sum over items.
    pub(crate) fn reduction_group(facts: &AdapterFacts) -> Group {
        match facts.subgroup {
            Some((min, max)) if facts.is_cpu && min == max => Group::Subgroup { lanes: min },
            _ => Group::Workgroup { lanes: 256.min(prev_power_of_two(facts.max_invocations)) },
        }
    }
}

impl Way {
    fn strategy(self, facts: &AdapterFacts, shape: RowShape) -> Option<RowStrategy> {
        let subgroup = facts.subgroup.filter(|(min, max)| min == max).map(|(lanes, _)| lanes);
        match self {
            Self::Thread => Some(RowStrategy::Thread),
            Self::Tile => {
                let whole = |rows: &u32| (*rows as usize * shape.classes).is_multiple_of(4);
                [1, 2, 4].into_iter().find(whole).map(|rows| RowStrategy::Tile { rows })
            }
            Self::Subgroup => subgroup.map(|lanes| RowStrategy::Subgroup { lanes }),
            Self::Workgroup(lanes) => Some(RowStrategy::Workgroup { lanes }),
            Self::Kept(lanes) => Some(RowStrategy::Kept { lanes }),
            Self::Split(lanes) => {
                let lanes = if facts.is_cpu { subgroup.filter(|&lanes| lanes > 1)? } else { lanes };
                let blocks = shape.classes / (16 * lanes as usize);
                let wanted = (BUSY_GROUPS / shape.rows().max(1)).clamp(2, lanes as usize).min(blocks.max(1)) as u32;
                // Parts of equal length, the last one not empty.
                let fours = RowStrategy::Split { lanes, parts: wanted }.part_fours(shape.classes);
                Some(RowStrategy::Split { lanes, parts: shape.classes.div_ceil(4).div_ceil(fours) as u32 })
            }
        }
    }
}

fn prev_power_of_two(n: u32) -> u32 {
    1 << n.max(1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CrossEntropy;
    use crate::error::Error;
    use crate::losses::Loss;
    use crate::plan::Plan;
    use crate::problem::{Problem, TargetKind};

    fn minimum() -> AdapterFacts {
        AdapterFacts::default()
    }

    fn software(subgroup: Option<(u32, u32)>) -> AdapterFacts {
        AdapterFacts { is_cpu: true, subgroup, ..minimum() }
    }

    fn plan(loss: &dyn Loss, problem: &Problem, facts: &AdapterFacts) -> Result<Plan, Error> {
        Plan::new(&loss.lower(problem)?, problem, facts, None)
    }

    #[test]
    fn the_strategy_follows_from_adapter_and_shape() {
        use RowStrategy::{Kept, Split, Subgroup, Thread, Tile, Workgroup};
        let gpu = AdapterFacts { subgroup: Some((32, 32)), max_invocations: 1024, ..minimum() };
        let small = AdapterFacts { max_invocations: 64, ..minimum() };
        let table: [(&AdapterFacts, &[usize], RowStrategy); 28] = [
            (&minimum(), &[8, 10], Tile { rows: 2 }),
            (&minimum(), &[8, 16], Tile { rows: 1 }),
            (&minimum(), &[8, 15], Tile { rows: 4 }),
            (&minimum(), &[8, 17], Thread),
            (&minimum(), &[8, 32], Tile { rows: 1 }),
            (&minimum(), &[8, 33], Kept { lanes: 64 }),
            (&gpu, &[8, 33], Subgroup { lanes: 32 }),
            (&gpu, &[8, 257], Kept { lanes: 64 }),
            (&minimum(), &[8, 1024], Kept { lanes: 64 }),
            (&minimum(), &[8, 1025], Kept { lanes: 256 }),
            (&minimum(), &[8, 4096], Workgroup { lanes: 256 }),
            (&gpu, &[80, 50_257], Workgroup { lanes: 256 }),
            (&gpu, &[8, 16_384], Split { lanes: 256, parts: 4 }),
            (&gpu, &[1, 262_144], Split { lanes: 256, parts: 64 }),
            (&minimum(), &[2, 1000, 7, 7], Thread),
            (&minimum(), &[2, 1000, 1, 1], Kept { lanes: 64 }),
            (&minimum(), &[1000], Kept { lanes: 64 }),
            (&small, &[8, 500], Kept { lanes: 64 }),
            (&small, &[80, 50_257], Thread),
            (&software(Some((8, 8))), &[8, 10], Tile { rows: 2 }),
            (&software(Some((8, 8))), &[8, 512], Thread),
            (&software(Some((8, 8))), &[8, 513], Subgroup { lanes: 8 }),
            (&software(Some((8, 8))), &[256, 1024], Thread),
            (&software(Some((8, 8))), &[9, 262_144], Subgroup { lanes: 8 }),
            (&software(Some((8, 8))), &[1, 262_144], Split { lanes: 8, parts: 8 }),
            (&software(Some((8, 8))), &[2, 262_144], Subgroup { lanes: 8 }),
            (&software(Some((4, 8))), &[8, 1025], Thread),
            (&software(None), &[8, 1025], Thread),
        ];
        for (facts, shape, expected) in table {
            let plan = plan(&CrossEntropy::new(), &Problem::new(shape, TargetKind::Indices), facts).unwrap();
            assert_eq!(plan.strategy(), expected, "{shape:?}: {}", plan.reason());
        }
    }

    /// A CPU adapter ends an invocation that loops too often, silently: rather more lanes, then an error.
    #[test]
    fn loops_are_bounded_where_the_adapter_bounds_them() {
        for classes in (0..24).map(|power| 1 << power).flat_map(|c| [c - c / 3, c, c + 1]).filter(|&c| c > 0) {
            for facts in [software(None), software(Some((8, 8))), software(Some((4, 16)))] {
                let facts = AdapterFacts { max_binding: 1 << 40, ..facts };
                match plan(&CrossEntropy::new(), &Problem::rows(2, classes), &facts) {
                    Ok(plan) => {
                        assert!(plan.strategy().iterations(classes, false) <= MAX_ITERATIONS, "{classes} {plan:?}");
                    }
                    Err(error) => {
                        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
                        assert!(
                            classes > 400_000 || facts.subgroup != Some((8, 8)) && classes > 50_257,
                            "{classes} classes are refused: {error}"
                        );
                    }
                }
            }
            let unbounded = AdapterFacts { max_binding: 1 << 40, ..minimum() };
            plan(&CrossEntropy::new(), &Problem::rows(2, classes), &unbounded).expect("a GPU has no such bound");
        }
    }
}
