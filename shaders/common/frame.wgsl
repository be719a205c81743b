// What every kernel is told: the shape, and the run-time constants that WGSL does not allow as literals. The skeleton declares
// `Uniforms`, which begins with a Frame and ends with the loss' Params.
struct Frame {
    rows: u32,          // rows (or items) in this dispatch
    classes: u32,       // C
    inner: u32,         // D: elements between two classes of one row; 1 when the class axis is last
    first_row: u32,     // index, in the whole batch, of this dispatch's first row
    grid_x: u32,        // workgroups along x; a workgroup's number is x + y * grid_x
    chunk: u32,         // items per workgroup of a reduction; quads per part of a split row
    item_count: u32,    // items (or records) that a reduction reads
    denominator: f32,   // of the reduction, unless it is counted on the GPU
    empty: u32,         // bits of the mean over nothing
    zero: u32,          // always 0, see `launder`
    parts: u32,         // of a split row
    start: u32,         // the first row of this dispatch, within the band
    ignore: vec4<i32>,  // targets that are ignored; unused places repeat the first
}

@group(0) @binding(0) var<uniform> u: Uniforms;

// The frame's. Set by `enter_group`, as the skeletons set `params`: software adapters fetch a uniform for each lane by itself, and
// again wherever it is read in a loop.
var<private> zero: u32;

const IN_QUAD = vec4<u32>(0u, 1u, 2u, 3u);

// Reduced (mean, sum): grad_output is one value. Otherwise one per item.
override REDUCED: bool = false;
// The denominator is counted: it stands in the first word of `work`, put there by an earlier dispatch, unless the batch is small
// (batch_small.wgsl).
override COUNTED: bool = false;
// grad_output is bound; else it is 1.
override HAS_GRAD_OUTPUT: bool = false;
