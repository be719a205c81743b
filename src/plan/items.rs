//! Element-wise losses: the kernel of the loss, then for tensors that broadcast the sums of their gradients.

use super::strategy::RowStrategy;
use super::uniforms::{DispatchParams, broadcast_bytes, words};
use super::{Pieces, Planner, Summed, TensorId};
use crate::broadcast::{Broadcast, Operand};
use crate::error::Error;
use crate::lowered::{Denominator, ItemLayout};
use crate::problem::{Dtype, Want};
use crate::wgsl::variant::{ItemLosses, ItemVariant, Kernel, Second, SumToShapeVariant, Width};

/// Chunks that items are cut into, at most. A GPU gets short ones, whose lanes load all they need at once; their partial sums are few
/// enough for the one workgroup that combines them. On a CPU it is its loops that are bounded: of 2^31 items, four lanes take a chunk in
/// 2048 iterations by plain arithmetic, as many again where a gradient overwrites its input, and 4096 by exact arithmetic, each of them
/// with eight inside, 40 960 in all.
const MAX_CHUNKS_OF_GPU: usize = 8192;
const MAX_CHUNKS_OF_CPU: usize = 16_384;
/// Items of a chunk at least: one block of 256 lanes.
const MIN_CHUNK: usize = 4096;
/// Items of a lane's block: two steps of two fours.
const BLOCK: usize = 16;
/// From here on it is worth a dispatch of its own to do a last chunk that is no whole number of fours.
const MIN_SPLIT_ITEMS: usize = 1 << 18;
/// Items that one group sums of a broadcast gradient.
const SUM_TO_SHAPE_CHUNK: usize = 65_536;

/// A gradient that is first as wide as the items, then summed to the shape of its tensor.
struct WideGradient<'a> {
    wide: TensorId,
    partial: TensorId,
    own: TensorId,
    operand: &'a Operand,
}

impl Planner<'_> {
    /// The dispatches of an element-wise loss, but for those that count the denominator.
    pub(super) fn push_items(
        &self,
        pieces: &mut Pieces,
        layout: &ItemLayout,
        strategy: RowStrategy,
    ) -> Result<(), Error> {
        let items = layout.broadcast.items();
        let reduced = self.lowered.is_reduced();
        let losses = match (reduced, self.wants(Want::LOSS)) {
            (true, _) => TensorId::Work,
            (false, true) => TensorId::Loss,
            (false, false) => TensorId::ItemLosses,
        };
        if losses == TensorId::ItemLosses {
            pieces.scratch(losses, Dtype::F32.bytes(items.next_multiple_of(8)));
        }
        self.push_item_kernels(pieces, layout, strategy, losses)?;
        if reduced {
            let sums = items.div_ceil(self.item_chunk(strategy));
            self.push_partial_sums(pieces, sums, Summed::Losses(TensorId::Work))
        } else if self.lowered.checked.is_some() {
            self.push_reduction(pieces, Summed::Losses(losses))
        } else {
            Ok(())
        }
    }

    /// Items per workgroup: whole blocks of every lane.
    pub(super) fn item_chunk(&self, strategy: RowStrategy) -> usize {
        let most = if self.facts.is_cpu { MAX_CHUNKS_OF_CPU } else { MAX_CHUNKS_OF_GPU };
        let blocks = BLOCK * strategy.lanes() as usize;
        self.lowered.items().div_ceil(most).max(MIN_CHUNK).next_multiple_of(blocks)
    }

    fn push_item_kernels(
        &self,
        pieces: &mut Pieces,
        layout: &ItemLayout,
        strategy: RowStrategy,
        losses: TensorId,
    ) -> Result<(), Error> {
        let shape = &layout.broadcast;
        let (items, chunk) = (shape.items(), self.item_chunk(strategy));
        let is_dense = |operand: Option<&Operand>| operand.is_some_and(|operand| shape.is_dense(operand));
        let dense_second = is_dense(shape.second.as_ref());

        // Where a tensor is broadcast, its gradient is first as wide as the items, in f32.
        let mut wide_gradients = Vec::new();
        let mut grad_input = self.grad_tensor();
        let is_wide = self.wants(Want::GRAD) && !shape.is_dense(&shape.input);
        if is_wide {
            let (wide, partial) = (TensorId::WideGradInput, TensorId::PartialGradInput);
            wide_gradients.push(WideGradient { wide, partial, own: grad_input, operand: &shape.input });
            grad_input = wide;
        }
        let wants_input2 = self.wants(Want::GRAD_INPUT2);
        let wants_second = wants_input2 || self.wants(Want::GRAD_TARGET);
        let (mut grad_second, operand) = match &shape.second {
            Some(second) if wants_input2 => (TensorId::GradInput2, second),
            _ => (TensorId::GradTarget, &shape.target),
        };
        if wants_second && !shape.is_dense(operand) {
            let (wide, partial) = (TensorId::WideGradSecond, TensorId::PartialGradSecond);
            wide_gradients.push(WideGradient { wide, partial, own: grad_second, operand });
            grad_second = wide;
        }
        for gradient in &wide_gradients {
            pieces.scratch(gradient.wide, Dtype::F32.bytes(items.max(1)));
        }

        let tensor = |name: &str| match name {
            "losses" => Some(losses),
            "second" if layout.mask => Some(TensorId::IgnoreMask),
            "second" => Some(TensorId::Input2),
            "grad_input" => Some(grad_input),
            "grad_second" => Some(grad_second),
            _ => TensorId::of_variable(name),
        };
        let variant = |width, end: usize| {
            let blocks = BLOCK * strategy.lanes() as usize;
            ItemVariant {
                loss: self.lowered.source,
                flags: self.lowered.flags,
                group: self.reduction_group(),
                width,
                input: self.input(),
                grad_input: self.wants(Want::GRAD).then(|| self.written(self.dtype_of(grad_input))),
                in_place: self.problem.grad_in_place && !is_wide,
                grad_second: wants_second,
                second: shape
                    .second
                    .as_ref()
                    .map(|_| if dense_second && width != Width::One { Second::Dense } else { Second::Broadcast }),
                masked: layout.mask,
                weight: self.lowered.weight.is_given(),
                pos_weight: layout.pos_weight.is_given(),
                grad_output: self.problem.grad_output,
                losses: if self.lowered.is_reduced() {
                    ItemLosses::Summed { counted: self.lowered.denominator == Denominator::Counted }
                } else {
                    ItemLosses::Each
                },
                exp: self.exp(),
                whole: end.is_multiple_of(blocks),
                rank: shape.dims.iter().filter(|&&size| size != 1).count().max(1) as u32,
                words: self.words(),
            }
        };
        // By vectors as far as fours are whole: where the last one is not, up to the last chunk if that is worth a dispatch.
        let by_vectors = if !(shape.is_dense(&shape.input) && shape.is_dense(&shape.target)) {
            0
        } else if items.is_multiple_of(4) {
            items
        } else if items >= MIN_SPLIT_ITEMS {
            items / chunk * chunk
        } else {
            0
        };
        // By eights where 16 bytes hold as many, or words of 64 bits do.
        let has_16_bits =
            self.problem.input_dtype.size() == 2 || self.wants(Want::GRAD) && self.dtype_of(grad_input).size() == 2;
        let eights = (has_16_bits || self.facts.wide_words()) && by_vectors.is_multiple_of(8);
        let vector = if eights { Width::Eight } else { Width::Four };
        for (part, width) in [(0..by_vectors, vector), (by_vectors..items, Width::One)] {
            if part.is_empty() {
                continue;
            }
            let grid = self.grid(part.len().div_ceil(chunk))?;
            let params = DispatchParams {
                first_row: part.start as u32,
                item_count: part.end as u32,
                chunk: chunk as u32,
                grid_x: grid[0],
                ..DispatchParams::new(self.lowered)
            };
            let uniforms = params.followed_by(&[&broadcast_bytes(shape), &self.lowered.params]);
            // What is read by vectors is bound up to the last whole one.
            let range = |tensor: TensorId, size: u64, stride: u64| match stride {
                0..=4 => 0..size,
                _ => 0..size.min(self.dtype_of(tensor).bytes(part.end)),
            };
            self.push(pieces, Kernel::Items(variant(width, part.end)), uniforms, grid, tensor, range)?;
        }
        wide_gradients.iter().try_for_each(|gradient| self.push_sums_to_shape(pieces, shape, gradient))
    }

    /// Sums a wide gradient to the shape of its tensor; in two steps where each element collects many items.
    fn push_sums_to_shape(
        &self,
        pieces: &mut Pieces,
        shape: &Broadcast,
        gradient: &WideGradient<'_>,
    ) -> Result<(), Error> {
        let &WideGradient { wide, partial, own, operand } = gradient;
        let owns = operand.strides.map(|stride| stride > 0);
        let kept = std::array::from_fn(|k| if owns[k] { shape.dims[k] } else { 1 });
        let shared: [usize; 4] = std::array::from_fn(|k| if owns[k] { 1 } else { shape.dims[k] });
        let (elements, collected) = (operand.len(), shared.iter().product::<usize>());
        if elements == 0 {
            return Ok(());
        }
        let segments = collected.div_ceil(SUM_TO_SHAPE_CHUNK).max(1);
        if segments == 1 {
            let sums = Sums { dims: shape.dims, shared, kept, elements, collected, segments };
            return self.push_sum_to_shape(pieces, (wide, own), &sums);
        }
        pieces.scratch(partial, Dtype::F32.bytes(segments * elements));
        let sums = Sums { dims: shape.dims, shared, kept, elements, collected, segments };
        self.push_sum_to_shape(pieces, (wide, partial), &sums)?;
        let (shared, kept) = ([1, 1, segments, 1], [1, 1, 1, elements]);
        let dims = [1, 1, segments, elements];
        let sums = Sums { dims, shared, kept, elements, collected: segments, segments: 1 };
        self.push_sum_to_shape(pieces, (partial, own), &sums)
    }

    fn push_sum_to_shape(
        &self,
        pieces: &mut Pieces,
        (from, to): (TensorId, TensorId),
        sums: &Sums,
    ) -> Result<(), Error> {
        let &Sums { dims, shared, kept, elements, collected, segments } = sums;
        let grid = self.grid(elements * segments)?;
        let params = DispatchParams {
            rows: elements as u32,
            item_count: collected as u32,
            chunk: collected.div_ceil(segments) as u32,
            grid_x: grid[0],
            ..DispatchParams::new(self.lowered)
        };
        let kernel = Kernel::SumToShape(SumToShapeVariant {
            output: self.written(self.dtype_of(to)),
            group: self.reduction_group(),
            words: self.words(),
        });
        let tensor = |name: &str| match name {
            "wide" => Some(from),
            "grad_input" => Some(to),
            _ => None,
        };
        let uniforms = params.followed_by(&[bytemuck::bytes_of(&[dims, shared, kept].map(words))]);
        self.push(pieces, kernel, uniforms, grid, tensor, |_, size, _| 0..size)
    }
}

/// One sum of a wide gradient: every element collects this many items, in this many segments.
struct Sums {
    /// The items' shape.
    dims: [usize; 4],
    /// `dims` where the tensor is broadcast, else 1.
    shared: [usize; 4],
    /// `dims` where it is not, else 1.
    kept: [usize; 4],
    elements: usize,
    collected: usize,
    segments: usize,
}
