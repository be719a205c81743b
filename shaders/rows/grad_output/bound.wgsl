// The upstream gradient: of the reduced loss, or one per row.

@group(0) @binding(7) var<storage, read> grad_output: array<f32>;

override REDUCED: bool = false;

fn upstream_of(row: u32) -> f32 {
    return grad_output[select(row, 0u, REDUCED)];
}
