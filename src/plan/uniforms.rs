//! What a dispatch is told: the bytes of its uniform buffer.

use bytemuck::{Pod, Zeroable};

use crate::broadcast::{Broadcast, Operand};
use crate::lowered::{Denominator, Layout, Lowered, MAX_IGNORED, RowTargets};

/// `DispatchParams` in lib/params.wgsl: the head of every uniform buffer.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct DispatchParams {
    /// Rows (or items) of the dispatch.
    pub rows: u32,
    /// C.
    pub classes: u32,
    /// D.
    pub inner: u32,
    /// Index, in the whole batch, of the first row of the dispatch's band.
    pub first_row: u32,
    /// Workgroups along x.
    pub grid_x: u32,
    /// Items per workgroup, or pairs of each lane per part of a split row.
    pub chunk: u32,
    /// Items that a reduction reads.
    pub item_count: u32,
    /// Of the reduction, unless it is counted on the GPU.
    pub denominator: f32,
    /// Bits of the mean of an empty batch.
    pub empty: u32,
    /// Always 0.
    pub zero: u32,
    /// Parts of a split row.
    pub parts: u32,
    /// The first row of the dispatch within its band.
    pub start: u32,
    /// Ignored targets.
    pub ignore: [i32; MAX_IGNORED],
    /// Elements before the band's first one in what is bound.
    pub base: u32,
    /// None.
    pub spare: [u32; 3],
}

impl DispatchParams {
    /// What all dispatches of a call are told.
    pub(crate) fn new(lowered: &Lowered) -> Self {
        let (classes, inner) = match &lowered.layout {
            Layout::Rows(rows) => (rows.shape.classes, rows.shape.inner),
            Layout::Items(_) => (1, 1),
        };
        let mut ignore = [0; MAX_IGNORED];
        if let Layout::Rows(rows) = &lowered.layout
            && let RowTargets::Indices { ignore: ignored } = &rows.target
        {
            for (place, slot) in ignore.iter_mut().enumerate() {
                *slot = ignored.get(place).or(ignored.first()).copied().unwrap_or(0);
            }
        }
        Self {
            rows: 0,
            classes: classes as u32,
            inner: inner as u32,
            first_row: 0,
            grid_x: 1,
            chunk: 0,
            item_count: lowered.items() as u32,
            denominator: match lowered.denominator {
                Denominator::Fixed(value) => value as f32,
                Denominator::Counted => 1.0,
            },
            empty: lowered.empty,
            zero: 0,
            parts: 1,
            start: 0,
            ignore,
            base: 0,
            spare: [0; 3],
        }
    }

    /// The uniform buffer: this, then what the template and the loss add.
    pub(crate) fn followed_by(&self, more: &[&[u8]]) -> Vec<u8> {
        [&[bytemuck::bytes_of(self)], more].concat().concat()
    }
}

/// Bytes of a `Params` that a kernel does not use.
pub(crate) const NO_PARAMS: &[u8] = &[0; 16];

/// `Broadcast` in items/template.wgsl.
pub(crate) fn broadcast_bytes(shape: &Broadcast) -> Vec<u8> {
    let strides = |operand: Option<&Operand>| operand.map_or([0; 4], |operand| words(operand.strides));
    let rows = [
        words(shape.dims),
        strides(Some(&shape.input)),
        strides(shape.second.as_ref()),
        strides(Some(&shape.target)),
        strides(shape.weight.as_ref()),
        strides(shape.pos_weight.as_ref()),
    ];
    bytemuck::bytes_of(&rows).to_vec()
}

/// Sizes as the GPU counts.
pub(crate) fn words(values: [usize; 4]) -> [u32; 4] {
    values.map(|value| value as u32)
}
