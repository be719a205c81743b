//! Sums over all items: the losses, the denominator, the status.

use super::uniforms::{DispatchParams, NO_PARAMS};
use super::{Pieces, Planner, TensorId};
use crate::error::Error;
use crate::lowered::{Checked, Denominator, Layout};
use crate::problem::Want;
use crate::wgsl::variant::{Kernel, Purpose, ReduceVariant, Reported, Source, Width};

/// How items are dealt out to the workgroups of a reduction.
#[derive(Debug, Clone, Copy)]
struct Dealing {
    /// Eights of a lane that are on their way from memory together.
    in_flight: u32,
    /// Up to so many items, one workgroup sums them all, and there is no second dispatch.
    alone: usize,
    /// Beyond, items of a workgroup; a whole number of steps.
    chunk: usize,
    /// More partial sums than this, and chunks grow: too many for the one workgroup that combines them.
    most_sums: usize,
}

impl Dealing {
    /// On a GPU a reduction takes the time in which its loads, its lanes and its dispatches wait for each other. On an H100, one workgroup of
    /// 256 lanes took 24 us to count 67 000 labels and 16 us to sum as many losses: a single processor
    /// adds no faster, however many loads are on their way. So a step to a workgroup, of two loads in each lane, and a second dispatch for their partial sums. The
    /// 2048 that eight of each lane are not exceeded.
    const fn of_gpu(lanes: usize) -> Self {
        let step = 16 * lanes;
        Self { in_flight: 2, alone: 2 * step, chunk: step, most_sums: 8 * lanes }
    }

    /// CPU adapters have nothing in flight, few lanes, and cores that wait for work.
    const OF_CPU: Self = Self { in_flight: 1, alone: 8192, chunk: 8192, most_sums: 16_384 };

    /// Items per workgroup.
    fn chunk_of(self, items: usize) -> usize {
        if items <= self.alone { self.alone } else { items.div_ceil(self.most_sums).next_multiple_of(self.chunk) }
    }
}

/// Words before the partial sums, and of one, in `work`: SUMS_AT and SUM_WORDS in lib/partial_sum.wgsl.
pub(crate) const WORK_HEADER_WORDS: usize = 8;
pub(crate) const SUM_WORDS: usize = 8;
/// Where `work` holds the status, in words, and its length: `write_status` in lib/totals.wgsl.
pub(crate) const STATUS_AT: u64 = 1;
pub(crate) const STATUS_WORDS: u64 = 3;

/// What a reduction sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Summed {
    /// What the items count in the mean.
    Denominator,
    /// Their losses: in this tensor, or partial sums of them in `work`.
    Losses(TensorId),
}

impl Planner<'_> {
    /// A sum over all items: one dispatch, or two if there are many.
    pub(super) fn push_reduction(&self, pieces: &mut Pieces, summed: Summed) -> Result<(), Error> {
        let items = self.lowered.items();
        let chunk = self.reduction_chunk();
        let sums = items.div_ceil(chunk).max(1);
        self.push_sum(pieces, self.source(summed), summed, [items, chunk], sums)?;
        if sums > 1 { self.push_partial_sums(pieces, sums, summed) } else { Ok(()) }
    }

    /// Combines the partial sums of an earlier dispatch.
    pub(super) fn push_partial_sums(&self, pieces: &mut Pieces, sums: usize, summed: Summed) -> Result<(), Error> {
        self.push_sum(pieces, Source::PartialSums, summed, [sums, sums.max(1)], 1)
    }

    /// Items per workgroup.
    pub(super) fn reduction_chunk(&self) -> usize {
        self.dealing().chunk_of(self.lowered.items())
    }

    fn dealing(&self) -> Dealing {
        let lanes = self.reduction_group().lanes() as usize;
        let dealing = if self.facts.is_cpu { Dealing::OF_CPU } else { Dealing::of_gpu(lanes) };
        Dealing { most_sums: dealing.most_sums.min(self.facts.max_workgroups as usize), ..dealing }
    }

    fn source(&self, summed: Summed) -> Source {
        let items = self.lowered.items();
        // One label or mask per item, in a tensor that ends with the last: by eights only where all are whole.
        let width = if items.is_multiple_of(8) { Width::Eight } else { Width::One };
        match (summed, &self.lowered.layout) {
            _ if items == 0 => Source::Empty,
            (Summed::Losses(TensorId::ItemLosses), _) => Source::Losses,
            (Summed::Losses(_), _) => Source::CallerLosses,
            (Summed::Denominator, Layout::Items(_)) => Source::Mask { width },
            (Summed::Denominator, Layout::Rows(rows)) => match &rows.target {
                crate::lowered::RowTargets::Indices { ignore } => Source::Labels {
                    width,
                    ignores: !ignore.is_empty(),
                    weighs_mean: rows.weighs_mean && self.lowered.weight.is_given(),
                    sample_weight: rows.sample_weight,
                    mask: rows.mask,
                },
                _ if !rows.sample_weight => Source::Mask { width },
                _ => Source::RowWeights { mask: rows.mask },
            },
        }
    }

    fn push_sum(
        &self,
        pieces: &mut Pieces,
        source: Source,
        summed: Summed,
        [items, chunk]: [usize; 2],
        groups: usize,
    ) -> Result<(), Error> {
        let wants_loss = self.lowered.is_reduced() && self.wants(Want::LOSS);
        let purpose = match summed {
            Summed::Denominator => Purpose::Denominator,
            Summed::Losses(_) if wants_loss => {
                Purpose::Loss { counted: self.lowered.denominator == Denominator::Counted }
            }
            Summed::Losses(_) => Purpose::Status,
        };
        let reported = match self.checked() {
            _ if summed == Summed::Denominator || self.lowered.items() == 0 => Reported::Nothing,
            Some(Checked::Labels) => Reported::Target,
            Some(Checked::Input) => Reported::Input(self.input()),
            // The bad label of a list is not known by its row.
            Some(Checked::LabelLists | Checked::Overwritten) | None => Reported::Nothing,
        };
        let kernel = Kernel::Reduce(ReduceVariant {
            source,
            purpose,
            reported,
            group: self.reduction_group(),
            in_flight: self.dealing().in_flight,
            words: self.words(),
        });
        let tensor = |name: &str| match (name, summed) {
            ("counted", _) if matches!(source, Source::Mask { .. }) => Some(TensorId::IgnoreMask),
            ("counted", _) => Some(TensorId::Target),
            ("losses", Summed::Losses(losses)) => Some(losses),
            _ => TensorId::of_variable(name),
        };
        let params =
            DispatchParams { item_count: items as u32, chunk: chunk as u32, ..DispatchParams::new(self.lowered) };
        let uniforms = params.followed_by(&[NO_PARAMS]);
        self.push(pieces, kernel, uniforms, [groups as u32, 1], tensor, |_, size, _| 0..size)
    }
}
