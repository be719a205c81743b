// What becomes of the items' losses: they are summed, a record per workgroup, and have one upstream gradient.
// The same interface stands in losses_quads.wgsl and losses_ones.wgsl.
//
//   grad_output   ()
//   out           records, and before them the denominator, where an earlier dispatch counts it: records.wgsl

@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<u32>;

fn denominator() -> f32 {
    if (COUNTED) {
        return bitcast<f32>(out[0]);
    }
    return u.frame.denominator;
}

// The upstream gradient of all items.
fn upstream() -> f32 {
    if (HAS_GRAD_OUTPUT) {
        return grad_output[0];
    }
    return 1.0;
}

// What items i .. i + 3 have besides.
fn upstream_quad(i: u32) -> vec4<f32> {
    return vec4<f32>(1.0);
}

fn store_losses(i: u32, loss: vec4<u32>) {
}

// `huge`: also notes that something is out of proportion.
fn store_record(group: u32, record: Record, huge: bool) {
    let words = record_words(record);
    let at = RECORDS_AT + group * RECORD_WORDS;
    out[at] = words[0];
    out[at + 1u] = words[1];
    out[at + 2u] = select(words[2], words[2] | HAS_HUGE, huge);
    out[at + 3u] = words[3];
    out[at + 4u] = words[4];
}
