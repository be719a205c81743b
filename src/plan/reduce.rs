//! Sums over all items: the losses, the denominator, the status.

use super::uniforms::{DispatchParams, NO_PARAMS};
use super::{Pieces, Planner, TensorId};
use crate::error::Error;
use crate::lowered::{Checked, Denominator, Layout};
use crate::problem::Want;
use crate::wgsl::variant::{Kernel, Purpose, ReduceVariant, Reported, Source, Width};

/// Items that one workgroup sums.
const CHUNK: usize = 8192;
/// More partial sums than this would be too many for the one workgroup that combines them.
const MAX_PARTIAL_SUMS: usize = 16_384;
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
        CHUNK.max(self.lowered.items().div_ceil(MAX_PARTIAL_SUMS)).next_multiple_of(8)
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
                },
                _ => Source::RowWeights,
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
        let reported = match self.lowered.checked {
            _ if summed == Summed::Denominator || self.lowered.items() == 0 => Reported::Nothing,
            Some(Checked::Labels) => Reported::Target,
            Some(Checked::Input) => Reported::Input(self.problem.input_dtype),
            // The bad label of a list is not known by its row.
            Some(Checked::LabelLists) | None => Reported::Nothing,
        };
        let kernel = Kernel::Reduce(ReduceVariant {
            source,
            purpose,
            reported,
            group: self.reduction_group(),
            words: self.words(),
        });
        let is_mask = matches!(self.lowered.layout, Layout::Items(_));
        let tensor = |name: &str| match (name, summed) {
            ("counted", _) if is_mask => Some(TensorId::IgnoreMask),
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
