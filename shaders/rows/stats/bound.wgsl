// Statistics that a training loop wants of every row, from the same pass: log-sum-exp, entropy (both f32), the class with the
// largest logit, and whether that is the target.

const WANT_STATS = true;

@group(0) @binding(13) var<storage, read_write> row_stats: array<vec4<u32>>;

fn store_stats(row: u32, stats: vec4<u32>) {
    row_stats[row] = stats;
}
