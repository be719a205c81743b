//! What a dispatch is told: the bytes of its uniform buffer.

use bytemuck::{Pod, Zeroable};

use crate::broadcast::{Broadcast, Operand};
use crate::lowered::{Denominator, Layout, Lowered, MAX_IGNORED, RowTargets};

/// `DispatchParams` in lib/params.wgsl: the head of every uniform buffer.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct DispatchParams {
    pub(crate) rows: u32,
    pub(crate) classes: u32,
    pub(crate) inner: u32,
    pub(crate) first_row: u32,
    pub(crate) grid_x: u32,
    pub(crate) chunk: u32,
    pub(crate) item_count: u32,
    pub(crate) denominator: f32,
    pub(crate) empty: u32,
    pub(crate) zero: u32,
    pub(crate) parts: u32,
    pub(crate) start: u32,
    pub(crate) ignore: [i32; MAX_IGNORED],
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
            empty: lowered.empty.to_bits(),
            zero: 0,
            parts: 1,
            start: 0,
            ignore,
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
