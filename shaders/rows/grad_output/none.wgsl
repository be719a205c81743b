// The upstream gradient of every row is 1.

fn upstream_of(row: u32) -> f32 {
    return 1.0;
}
