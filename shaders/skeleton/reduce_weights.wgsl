// Source of a reduction: what each row counts in the denominator of the mean, the class weight of its target times its own.
// Ignored rows count 0. A row whose target is out of range counts 1, as it would unweighted: then the gradients of the other
// rows are what they are when that target is mended.

override HAS_WEIGHT: bool = false;
override HAS_LABELS: bool = false;

@group(0) @binding(2) var<storage, read> weight: array<f32>;

fn read_item(i: u32) -> Record {
    var w = 1.0;
    if (HAS_LABELS) {
        let label = read_label(read_one(i));
        if (label.state == IGNORED) {
            return empty_record();
        }
        if (HAS_WEIGHT && label.state == COUNTS) {
            w = weight[label.class_index];
        }
    }
    return item_record(bitcast<u32>(w * sample_weight_of(i)), i);
}
