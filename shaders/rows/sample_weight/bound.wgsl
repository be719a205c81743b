// A weight per row.

const HAS_SAMPLE_WEIGHT = true;

@group(0) @binding(6) var<storage, read> sample_weight: array<f32>;

fn sample_weight_of(row: u32) -> f32 {
    return sample_weight[row];
}
