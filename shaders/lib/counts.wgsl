// What each row counts in the denominator of the mean: the class weight of its target times the weight of the row. Ignored and excluded
// rows count 0, whatever they weigh. A row whose target is out of range counts 1, as it would unweighted: then the gradients of the other
// rows are what they are when that target is corrected.

override WEIGHS_MEAN: bool = false;     // class weights count
override HAS_LABELS: bool = false;      // targets are class indices

// Of four rows, as bits. Without a branch: loads under a condition would wait for each other.
fn counts_of_four(labels: vec4<u32>, rows: vec4<u32>) -> vec4<u32> {
    var w = vec4<f32>(1.0);
    if (WEIGHS_MEAN) {
        let valid = labels < vec4<u32>(u.dispatch.classes);
        let c = select(vec4<u32>(0u), labels, valid);
        w = select(w, vec4<f32>(class_weight(c.x), class_weight(c.y), class_weight(c.z), class_weight(c.w)), valid);
    }
    if (HAS_SAMPLE_WEIGHT) {
        w *= vec4<f32>(
            sample_weight_of(rows.x), sample_weight_of(rows.y), sample_weight_of(rows.z), sample_weight_of(rows.w));
    }
    let excluded = vec4<bool>(is_excluded(rows.x), is_excluded(rows.y), is_excluded(rows.z), is_excluded(rows.w));
    return select(bitcast<vec4<u32>>(w), vec4<u32>(0u), excluded | (vec4<bool>(HAS_LABELS) & are_ignored(labels)));
}

fn counts(label_bits: u32, row: u32) -> u32 {
    return counts_of_four(vec4<u32>(label_bits), vec4<u32>(row)).x;
}
