// Source of a reduction: what each row counts in the denominator of the mean.

const BY_EIGHTS = true;

@group(0) @binding(2) var<storage, read> weight: array<f32>;

fn class_weight(c: u32) -> f32 {
    return weight[c];
}

fn four_counts(labels: vec4<u32>, i: u32) -> vec4<u32> {
    let k = min(vec4<u32>(i) + IN_QUAD, vec4<u32>(u.frame.item_count - 1u));
    let four = vec4<u32>(counts(labels.x, k.x), counts(labels.y, k.y), counts(labels.z, k.z), counts(labels.w, k.w));
    return select(vec4<u32>(0u), four, vec4<u32>(i) + IN_QUAD < vec4<u32>(u.frame.item_count));
}

fn read_eight(i: u32) -> Pair {
    let labels = input_eight(i);
    return Pair(four_counts(labels.a, i), four_counts(labels.b, i + 4u));
}

fn read_item(i: u32) -> Record {
    return item_record(counts(read_one(i), i), i);
}
