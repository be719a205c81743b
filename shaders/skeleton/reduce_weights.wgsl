// Source of a reduction: what each row counts in the denominator of the mean, the class weight of its target times its own.
// Ignored rows count 0. A row whose target is out of range counts 1, as it would unweighted: then the gradients of the other
// rows are what they are when that target is mended.

const BY_EIGHTS = true;

override HAS_WEIGHT: bool = false;
override HAS_LABELS: bool = false;

@group(0) @binding(2) var<storage, read> weight: array<f32>;

// As bits.
fn counts(label_bits: u32, i: u32) -> u32 {
    var w = 1.0;
    if (HAS_LABELS) {
        let label = read_label(label_bits);
        if (label.state == IGNORED) {
            return 0u;
        }
        if (HAS_WEIGHT && label.state == COUNTS) {
            w = weight[label.class_index];
        }
    }
    if (HAS_SAMPLE_WEIGHT) {
        w *= sample_weight_of(i);
    }
    return bitcast<u32>(w);
}

fn four_counts(labels: vec4<u32>, i: u32) -> vec4<u32> {
    let k = min(vec4<u32>(i) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(u.frame.item_count - 1u));
    let four = vec4<u32>(counts(labels.x, k.x), counts(labels.y, k.y), counts(labels.z, k.z), counts(labels.w, k.w));
    return select(vec4<u32>(0u), four, vec4<u32>(i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(u.frame.item_count));
}

fn read_eight(i: u32) -> Pair {
    let labels = input_eight(i);
    return Pair(four_counts(labels.a, i), four_counts(labels.b, i + 4u));
}

fn read_item(i: u32) -> Record {
    return item_record(counts(read_one(i), i), i);
}
