// An invalid item is reported with its class index.

@group(0) @binding(2) var<storage, read> target_data: array<u32>;

fn reported_value(i: u32) -> u32 {
    return target_data[i];
}
