// What every kernel is told: the shape of the call, and run-time constants that WGSL does not allow as literals. The kernel template
// declares `Uniforms`, which begins with DispatchParams and ends with the loss' Params.
struct DispatchParams {
    rows: u32,          // rows (or items) of this dispatch
    classes: u32,       // C
    inner: u32,         // D: elements between two classes of one row; 1 where the class axis is last
    first_row: u32,     // index, in the whole batch, of the first row of this dispatch
    grid_x: u32,        // workgroups along x; the number of a workgroup is x + y * grid_x
    chunk: u32,         // items per workgroup of a reduction; pairs of each lane per part of a split row
    item_count: u32,    // items (or partial sums) that a reduction reads
    denominator: f32,   // of the reduction, unless it is counted on the GPU
    empty: u32,         // bits of the mean of an empty batch
    zero: u32,          // always 0, see `opaque`
    parts: u32,         // of a split row
    start: u32,         // the first row of this dispatch within its band
    ignore: vec4<i32>,  // ignored targets; unused places repeat the first
    base: u32,          // elements before those of this dispatch's band in what is bound of a tensor with a value per class
}

@group(0) @binding(0) var<uniform> u: Uniforms;

// The uniform's. Set by `enter_group`, as the kernel templates set `params`: software adapters fetch a uniform for each lane by
// itself, and again wherever it is read in a loop.
var<private> zero: u32;

// Offsets of the elements of a four.
const IN_FOUR = vec4<u32>(0u, 1u, 2u, 3u);

// C, where a kernel is made for one number of classes; else 0.
override CLASSES: u32 = 0u;

fn class_count() -> u32 {
    return select(CLASSES, u.dispatch.classes, CLASSES == 0u);
}

// The row's element of class 0 in the tensors of a band.
fn row_start(row_in_band: u32) -> u32 {
    let n = row_in_band / u.dispatch.inner;
    return u.dispatch.base + n * u.dispatch.classes * u.dispatch.inner + (row_in_band - n * u.dispatch.inner);
}
