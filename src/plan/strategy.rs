//! How rows are mapped to invocations: the strategies, and the tables that choose one by adapter and shape.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::adapter::AdapterFacts;
use crate::error::Error;
use crate::lowered::RowLayout;
use crate::problem::{Problem, RowShape, Want};
use crate::wgsl::variant::{Group, Held};

/// How rows are mapped to invocations.
///
/// As text: `thread`, `tile:2`, `staged`, `lanes:32x4`, `split:256x8`.
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
    /// One invocation per row of few classes; a workgroup reads and writes its rows together, by way of workgroup memory.
    Staged,
    /// A group of lanes per row, which holds in registers what fits: that is read once, the rest a second time for the gradient.
    Lanes {
        /// Lanes of a row: at most 32 of them are a part of a workgroup, more are one.
        lanes: u32,
        /// Times eight classes that each lane holds, at most eight.
        held: u32,
    },
    /// Several groups per row, for few long rows, which are read twice.
    Split {
        /// Lanes of a group.
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
            Self::Staged => f.pad("staged"),
            Self::Lanes { lanes, held } => f.pad(&format!("lanes:{lanes}x{held}")),
            Self::Split { lanes, parts } => f.pad(&format!("split:{lanes}x{parts}")),
        }
    }
}

impl FromStr for RowStrategy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let (way, sizes) = text.split_once(':').unwrap_or((text, ""));
            let two = || sizes.split_once('x').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            Some(match way {
                "thread" if way == text => Self::Thread,
                "staged" if way == text => Self::Staged,
                "tile" => Self::Tile { rows: sizes.parse().ok().filter(|&rows: &u32| rows > 0)? },
                "lanes" => two().map(|(lanes, held)| Self::Lanes { lanes, held })?,
                "split" => two().map(|(lanes, parts)| Self::Split { lanes, parts })?,
                _ => return None,
            })
        };
        let forms = "thread, tile:ROWS, staged, lanes:LANESxHELD or split:LANESxPARTS";
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
/// Logits that an invocation can keep: the length of `tile` in rows/lanes/tile.wgsl.
const TILE_LOGITS: usize = 64;
/// Classes of a row that is staged: so many loads of an invocation in rows/driver/staged.wgsl.
const STAGED_CLASSES: usize = 16;
/// lavapipe ends an invocation silently after 65 535 loop iterations in all its loops together.
const MAX_ITERATIONS: usize = 60_000;
/// Groups that keep a device busy when few rows are split; more only add partial sums to join.
const BUSY_GROUPS: usize = 512;
/// Classes of a pair, of one lane.
const PAIR: usize = 8;
/// Lanes of a group that shares a workgroup with others: no more than the largest subgroup that is asked for.
const SHARED_LANES: u32 = 32;
/// A lane holds so many pairs where it can choose: 32 registers for the logits, and several loads in flight. Half of that where the
/// target has a value per class, which is held too.
const PAIRS: u32 = 4;

/// Lanes of the widest group: to each of 1024 a multiprocessor leaves 64 registers, to each of 512 as many as it can use.
const MOST_LANES: u32 = 512;

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
    Staged,
    /// As many lanes as hold the row.
    Held,
    /// So many lanes, which hold so many pairs and read the rest twice.
    Partly {
        lanes: u32,
        held: u32,
    },
    /// The lanes of a subgroup, which hold nothing.
    Subgroup,
    Split(u32),
}

const ANY: RangeInclusive<usize> = 0..=usize::MAX;

const fn regime(classes: RangeInclusive<usize>, rows: RangeInclusive<usize>, way: Way, why: &'static str) -> Regime {
    Regime { classes, rows, way, why }
}

/// GPUs: the first line that holds and that the adapter can run.
const GPU: &[Regime] = &[
    regime(0..=STAGED_CLASSES, ANY, Way::Staged, "few classes: rows go through workgroup memory, one read"),
    regime(16_384..=usize::MAX, 0..=64, Way::Split(256), "few long rows: one group each would leave the device idle"),
    regime(ANY, ANY, Way::Held, "the row's lanes hold it in registers: one read"),
    regime(ANY, ANY, Way::Partly { lanes: 512, held: 8 }, "longer than registers: the rest is read twice"),
    regime(ANY, ANY, Way::Partly { lanes: 256, held: 8 }, "longer than registers: the rest is read twice"),
    regime(ANY, ANY, Way::Partly { lanes: 32, held: 8 }, "longer than registers: the rest is read twice"),
    regime(ANY, ANY, Way::Thread, "the device allows no group of lanes"),
];

/// CPU adapters: lanes are SIMD, barriers cost more than anything else, registers are few, and the row lies in a cache anyway.
const CPU: &[Regime] = &[
    regime(0..=16, ANY, Way::Tile, "CPU adapter, few classes: a thread keeps whole rows in registers, one read"),
    regime(0..=512, ANY, Way::Thread, "CPU adapter: neighbouring rows share the cost of opening and closing a row"),
    regime(
        513..=1024,
        256..=usize::MAX,
        Way::Thread,
        "CPU adapter: many rows share the cost of opening and closing a row",
    ),
    regime(16_384..=usize::MAX, 0..=1, Way::Split(0), "CPU adapter: one long row, more cores"),
    regime(ANY, ANY, Way::Subgroup, "CPU adapter: barriers are expensive, a subgroup needs none"),
    regime(ANY, ANY, Way::Thread, "CPU adapter without proven subgroups: a thread needs no barriers"),
    regime(ANY, ANY, Way::Partly { lanes: 256, held: 0 }, "CPU adapter: fewer lanes would loop too often"),
];

/// What a row kernel is asked for, besides the adapter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    pub(crate) shape: RowShape,
    /// The target has a value per class.
    pub(crate) values: bool,
    /// Lists of labels, compared class by class: neither held, split, staged nor tiled.
    pub(crate) lists: bool,
    /// One logit of a row is read, and only it.
    pub(crate) one_class: bool,
    /// The gradient of the logits is wanted.
    pub(crate) gradient: bool,
}

impl Demand {
    pub(crate) fn of(rows: &RowLayout, problem: &Problem) -> Self {
        Self {
            shape: rows.shape,
            values: !rows.has_indices(),
            lists: rows.has_lists(),
            one_class: rows.one_class,
            gradient: problem.want.contains(Want::GRAD),
        }
    }

    /// What is worth holding of a row.
    fn held(&self, pairs: u32) -> u32 {
        if self.lists || self.one_class { 0 } else { pairs }
    }
}

impl RowStrategy {
    /// Lanes that share a row (or a part of one).
    #[must_use]
    pub fn lanes(self) -> u32 {
        match self {
            Self::Thread | Self::Tile { .. } | Self::Staged => 1,
            Self::Lanes { lanes, .. } | Self::Split { lanes, .. } => lanes,
        }
    }

    /// How the lanes of a row work together.
    pub(crate) fn group(self, facts: &AdapterFacts) -> Group {
        match self {
            Self::Thread | Self::Tile { .. } | Self::Staged => Group::Single { workgroup: INDEPENDENT },
            Self::Lanes { lanes, .. } | Self::Split { lanes, .. } => group_of(facts, lanes),
        }
    }

    /// Rows that a workgroup takes, if it takes whole ones.
    pub(crate) fn rows_per_workgroup(self, facts: &AdapterFacts) -> usize {
        let rows = if let Self::Tile { rows } = self { rows } else { 1 };
        let group = self.group(facts);
        (rows * group.workgroup() / group.lanes()) as usize
    }

    /// Pairs of each part of a split row: whole blocks, which are two.
    pub(crate) fn part_pairs(self, classes: usize) -> usize {
        let parts = if let Self::Split { parts, .. } = self { parts as usize } else { 1 };
        self.pairs(classes).div_ceil(parts).next_multiple_of(2)
    }

    /// Pairs of a row, of each lane.
    fn pairs(self, classes: usize) -> usize {
        classes.div_ceil(PAIR * self.lanes() as usize)
    }

    /// What a lane holds of a row of so many classes; one more where rows may begin in the middle of a word.
    pub(crate) fn held(self, classes: usize) -> Held {
        let Self::Lanes { held, .. } = self else { return Held::NOTHING };
        let pairs = self.pairs(classes);
        Held { pairs: pairs.min(held as usize) as u32, goes_on: pairs > held as usize }
    }

    /// Loop iterations at most, of all the loops that the rows of one SIMD vector may take between them: sums over the classes
    /// by blocks of two pairs; a second pass, the search for -inf, the gradient and the zeros of an ignored row by single pairs;
    /// with lists of labels, three times every four against every four.
    pub(crate) fn iterations(self, classes: usize, lists: bool) -> usize {
        let walked = match self {
            Self::Split { .. } => self.part_pairs(classes),
            _ => self.pairs(classes),
        };
        // `classify` of cross-entropy searches the whole row, whatever the part.
        let search = self.pairs(classes);
        if lists { (6 * walked).saturating_mul(classes.div_ceil(4)) } else { 4 * walked + search + 4 }
    }

    /// Whether a band may begin at any element of what is bound. Several rows that are read and written together begin at a whole word.
    pub(crate) fn takes_any_base(self) -> bool {
        !matches!(self, Self::Tile { .. } | Self::Staged)
    }

    /// Whether the adapter can run it on rows of so many classes.
    #[must_use]
    pub fn serves(self, facts: &AdapterFacts, classes: usize) -> bool {
        let shape = RowShape { outer: usize::MAX, classes, inner: 1, axis: 1 };
        self.runs(facts, Demand { shape, values: false, lists: false, one_class: false, gradient: true })
    }

    pub(crate) fn runs(self, facts: &AdapterFacts, demand: Demand) -> bool {
        let Demand { shape, lists, .. } = demand;
        let fits = match self {
            Self::Thread => true,
            Self::Tile { rows } => {
                let logits = (rows as usize).saturating_mul(shape.classes);
                let whole = [1, 2, 4].contains(&rows) && logits.is_multiple_of(4) && logits <= TILE_LOGITS;
                whole && shape.inner == 1 && !lists
            }
            Self::Staged => {
                let few = shape.classes <= STAGED_CLASSES;
                let bytes = INDEPENDENT as usize * (shape.classes.min(STAGED_CLASSES) | 1) * size_of::<f32>();
                few && bytes <= facts.max_workgroup_memory as usize && shape.inner == 1 && !lists
            }
            Self::Lanes { lanes, held } => {
                held <= Held::MOST && has_group(facts, lanes) && (held == 0 || (!lists && shape.inner == 1))
            }
            Self::Split { lanes, parts } => {
                // A part that would have no pairs would read past the row.
                let whole = parts > 0 && parts <= lanes && {
                    self.part_pairs(shape.classes) * (parts as usize - 1) < self.pairs(shape.classes)
                };
                has_group(facts, lanes) && whole && shape.inner == 1 && !lists && facts.max_storage_buffers >= 8
            }
        };
        fits && (!facts.is_cpu || self.iterations(shape.classes, lists) <= MAX_ITERATIONS)
    }

    /// The strategy for rows of this shape on this adapter, and the reason.
    pub(crate) fn choose(facts: &AdapterFacts, demand: Demand) -> Choice {
        let thread = |reason| Choice { strategy: Self::Thread, reason };
        if demand.shape.inner > 1 && Self::Thread.runs(facts, demand) {
            return thread("class axis not last: neighbouring positions are neighbours in memory");
        }
        if demand.one_class && !demand.gradient {
            return thread("one logit of each row is read");
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
            .filter_map(|regime| Some(Choice { strategy: regime.way.strategy(facts, demand)?, reason: regime.why }))
            .filter(|choice| choice.strategy.runs(facts, demand))
            .collect()
    }

    /// What is worth measuring: the table's candidates, and what else the adapter can run that may win somewhere.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn worth_measuring(facts: &AdapterFacts, demand: Demand) -> Vec<Self> {
        let ways: &[Way] = if facts.is_cpu {
            &[Way::Thread, Way::Subgroup, Way::Tile, Way::Split(0)]
        } else {
            &[Way::Staged, Way::Split(256), Way::Thread]
        };
        let ways = ways.iter().filter_map(|way| way.strategy(facts, demand));
        // Half and twice the lanes that the table would take.
        let lanes = |lanes: u32| {
            let pairs = demand.shape.classes.div_ceil(PAIR * lanes as usize).min(Held::MOST as usize) as u32;
            Self::Lanes { lanes, held: pairs }
        };
        let held = Way::Held.strategy(facts, demand).map_or(512, Self::lanes);
        let near = [held / 2, held, 2 * held].into_iter().filter(|&n| !facts.is_cpu && n > 0).map(lanes);
        let mut found: Vec<_> = Self::candidates(facts, demand).into_iter().map(|choice| choice.strategy).collect();
        for strategy in ways.chain(near) {
            let whole = matches!(strategy, Self::Split { parts: 0 | 1, .. });
            if !whole && !found.contains(&strategy) && strategy.runs(facts, demand) {
                found.push(strategy);
            }
        }
        found
    }

    /// Chunks of items, which have one strategy.
    pub(crate) fn for_items(facts: &AdapterFacts) -> Choice {
        let strategy = Self::Lanes { lanes: Self::reduction_group(facts).lanes(), held: 0 };
        Choice { strategy, reason: "element-wise: consecutive chunks" }
    }

    /// Whether the device can have the lanes that sum over items.
    pub(crate) fn has_reductions(facts: &AdapterFacts) -> bool {
        has_group(facts, Self::reduction_group(facts).lanes())
    }

    /// The lanes that sum over items.
    pub(crate) fn reduction_group(facts: &AdapterFacts) -> Group {
        match facts.shuffled() {
            Some(lanes) if facts.is_cpu => group_of(facts, lanes),
            _ => group_of(facts, 256.min(prev_power_of_two(facts.max_invocations))),
        }
    }
}

/// Whether the device can have groups of so many lanes. (group/memory.wgsl reduces 4 to 32 or at least 64.)
fn has_group(facts: &AdapterFacts, lanes: u32) -> bool {
    lanes.is_power_of_two() && (4..=facts.max_invocations).contains(&lanes) && {
        // Two cells of each invocation, and sixteen more.
        let cells = 2 * workgroup_of(facts, lanes) as usize + 16;
        cells * size_of::<u32>() <= facts.max_workgroup_memory as usize
    }
}

/// Invocations of a workgroup of groups of so many lanes. A multiprocessor of a GPU holds at most 16 to 32 workgroups, so small groups
/// share one; few invocations wait less for each other. On CPU adapters a workgroup is a subgroup, if that is the group.
fn workgroup_of(facts: &AdapterFacts, lanes: u32) -> u32 {
    match lanes {
        _ if facts.is_cpu && facts.shuffled() == Some(lanes) => lanes,
        0..SHARED_LANES => 128.min(prev_power_of_two(facts.max_invocations)),
        SHARED_LANES => 64.min(prev_power_of_two(facts.max_invocations)),
        _ => lanes,
    }
}

fn group_of(facts: &AdapterFacts, lanes: u32) -> Group {
    let workgroup = workgroup_of(facts, lanes);
    match facts.shuffled() {
        Some(shuffled) if lanes <= shuffled || lanes == workgroup => Group::Shuffles { lanes, workgroup, shuffled },
        _ => Group::Memory { lanes, workgroup },
    }
}

impl Way {
    fn strategy(self, facts: &AdapterFacts, demand: Demand) -> Option<RowStrategy> {
        let shape = demand.shape;
        match self {
            Self::Thread => Some(RowStrategy::Thread),
            Self::Tile => {
                let whole = |rows: &u32| (*rows as usize * shape.classes).is_multiple_of(4);
                [1, 2, 4].into_iter().find(whole).map(|rows| RowStrategy::Tile { rows })
            }
            Self::Staged => Some(RowStrategy::Staged),
            Self::Held => {
                let pairs = if demand.values { PAIRS / 2 } else { PAIRS };
                let wanted = shape.classes.div_ceil(PAIR * pairs as usize).next_power_of_two();
                let lanes = u32::try_from(wanted.max(4)).ok()?;
                let most = MOST_LANES.min(facts.max_invocations);
                // Rather twice as much of each lane than lanes that the registers do not suffice for.
                let lanes = if lanes > most { lanes.div_ceil(2) } else { lanes };
                let held = shape.classes.div_ceil(PAIR * lanes as usize) as u32;
                (lanes <= most).then_some(RowStrategy::Lanes { lanes, held: demand.held(held) })
            }
            Self::Partly { lanes, held } => {
                let held = if demand.values { held / 2 } else { held };
                Some(RowStrategy::Lanes { lanes, held: demand.held(held) })
            }
            Self::Subgroup => facts.shuffled().map(|lanes| RowStrategy::Lanes { lanes, held: 0 }),
            Self::Split(lanes) => {
                let lanes = if facts.is_cpu { facts.shuffled()? } else { lanes };
                let blocks = shape.classes / (2 * PAIR * lanes as usize);
                let wanted = (BUSY_GROUPS / shape.rows().max(1)).clamp(2, lanes as usize).min(blocks.max(1)) as u32;
                // Parts of equal length, the last one not empty.
                let split = RowStrategy::Split { lanes, parts: wanted };
                let parts = split.pairs(shape.classes).div_ceil(split.part_pairs(shape.classes)) as u32;
                Some(RowStrategy::Split { lanes, parts })
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
    use crate::adapter::Proven;
    use crate::error::Error;
    use crate::losses::Loss;
    use crate::plan::Plan;
    use crate::problem::TargetKind;

    fn minimum() -> AdapterFacts {
        AdapterFacts::default()
    }

    fn with_lanes(subgroup_lanes: u32) -> AdapterFacts {
        AdapterFacts { proven: Proven { subgroup_lanes, ..Proven::default() }, ..minimum() }
    }

    fn software(subgroup_lanes: u32) -> AdapterFacts {
        AdapterFacts { is_cpu: true, ..with_lanes(subgroup_lanes) }
    }

    fn plan(loss: &dyn Loss, problem: &Problem, facts: &AdapterFacts) -> Result<Plan, Error> {
        Plan::new(&loss.lower(problem)?, problem, facts, None)
    }

    #[test]
    fn the_strategy_follows_from_adapter_and_shape() {
        use RowStrategy::{Lanes, Split, Staged, Thread, Tile};
        let gpu = AdapterFacts { max_invocations: 1024, ..with_lanes(32) };
        let small = AdapterFacts { max_invocations: 64, ..minimum() };
        let lanes = |lanes, held| Lanes { lanes, held };
        let nothing_held = lanes(8, 0);
        let table: [(&AdapterFacts, &[usize], RowStrategy); 28] = [
            (&minimum(), &[8, 10], Staged),
            (&minimum(), &[8, 16], Staged),
            (&minimum(), &[8, 17], lanes(4, 1)),
            (&gpu, &[8, 10], Staged),
            (&gpu, &[8, 33], lanes(4, 2)),
            (&gpu, &[8, 128], lanes(4, 4)),
            (&gpu, &[8, 257], lanes(16, 3)),
            (&minimum(), &[8, 1024], lanes(32, 4)),
            (&minimum(), &[8, 1025], lanes(64, 3)),
            (&minimum(), &[8, 4096], lanes(128, 4)),
            (&gpu, &[80, 32_000], lanes(512, 8)),
            (&minimum(), &[80, 16_000], lanes(256, 8)),
            (&gpu, &[8, 16_384], Split { lanes: 256, parts: 4 }),
            (&gpu, &[1, 262_144], Split { lanes: 256, parts: 64 }),
            (&gpu, &[1335, 50_257], lanes(512, 8)),
            (&minimum(), &[2, 1000, 7, 7], Thread),
            (&minimum(), &[2, 1000, 1, 1], lanes(32, 4)),
            (&minimum(), &[1000], lanes(32, 4)),
            (&small, &[8, 500], lanes(16, 4)),
            (&small, &[80, 50_257], lanes(32, 8)),
            (&software(8), &[8, 10], Tile { rows: 2 }),
            (&software(8), &[8, 512], Thread),
            (&software(8), &[8, 513], nothing_held),
            (&software(8), &[256, 1024], Thread),
            (&software(8), &[9, 262_144], nothing_held),
            (&software(8), &[1, 262_144], Split { lanes: 8, parts: 8 }),
            (&software(8), &[2, 262_144], nothing_held),
            (&software(0), &[8, 1025], Thread),
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
            for facts in [software(0), software(8), software(4)] {
                let facts = AdapterFacts { max_binding: 1 << 40, ..facts };
                match plan(&CrossEntropy::new(), &Problem::rows(2, classes), &facts) {
                    Ok(plan) => {
                        assert!(plan.strategy().iterations(classes, false) <= MAX_ITERATIONS, "{classes} {plan:?}");
                    }
                    Err(error) => {
                        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
                        assert!(
                            classes > 400_000 || facts.shuffled() != Some(8) && classes > 50_257,
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
