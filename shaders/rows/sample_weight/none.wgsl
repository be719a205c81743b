// Every row weighs 1.

const HAS_SAMPLE_WEIGHT = false;

fn sample_weight_of(row: u32) -> f32 {
    return 1.0;
}
