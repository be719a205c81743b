// What each row counts in the denominator of the mean: the class weight of its target times the weight of the row. Ignored rows count 0. A
// row whose target is out of range counts 1, as it would unweighted: then the gradients of the other rows are what they are when
// that target is corrected.

override WEIGHS_MEAN: bool = false;     // class weights count
override HAS_LABELS: bool = false;      // targets are class indices

// As bits.
fn counts(label_bits: u32, row: u32) -> u32 {
    var w = 1.0;
    if (HAS_LABELS) {
        let label = read_label(label_bits);
        if (label.state == IGNORED) {
            return 0u;
        }
        if (WEIGHS_MEAN && label.state == COUNTS) {
            w = class_weight(label.class_index);
        }
    }
    if (HAS_SAMPLE_WEIGHT) {
        w *= sample_weight_of(row);
    }
    return bitcast<u32>(w);
}
