// Turns lists of labels into a count per class, before the kernel of the loss runs: one row per invocation.
//
//   target_data    (N, C, D)  lists of labels: rows/target/, lib/label_lists.wgsl
//   label_counts   (N, C, D)  how often each class is listed; BAD_LIST at class 0 where a label of the row is out of range

struct Params {
    spare: vec4<u32>,
}

struct Uniforms {
    dispatch: DispatchParams,
    params: Params,
}

@group(0) @binding(15) var<storage, read_write> label_counts: array<u32>;

@compute @workgroup_size(64)
fn count_labels(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let row = (workgroup.x + workgroup.y * u.dispatch.grid_x) * 64u + invocation;
    if (row >= u.dispatch.rows) {
        return;
    }
    let at = row_start(row);
    for (var j = 0u; j < u.dispatch.classes; j += 4u) {
        let c = min(vec4<u32>(j) + IN_FOUR, vec4<u32>(u.dispatch.classes - 1u)) * u.dispatch.inner + at;
        label_counts[c.x] = 0u;
        label_counts[c.y] = 0u;
        label_counts[c.z] = 0u;
        label_counts[c.w] = 0u;
    }
    // The first label that is no class ends the list; -1 does so properly.
    var last = 0u;
    for (var k = 0u; (k < u.dispatch.classes) & (last < u.dispatch.classes); k += 4u) {
        let labels = labels_from(at, k);
        last = count_label(at, labels.x, last);
        last = count_label(at, labels.y, last);
        last = count_label(at, labels.z, last);
        last = count_label(at, labels.w, last);
    }
    if ((last >= u.dispatch.classes) & (last != END)) {
        label_counts[at] = BAD_LIST;
    }
}

// Counts a label unless the list has ended. Returns what ended it, or the label.
fn count_label(at: u32, label: u32, last: u32) -> u32 {
    if (last >= u.dispatch.classes) {
        return last;
    }
    if (label < u.dispatch.classes) {
        label_counts[at + label * u.dispatch.inner] += 1u;
    }
    return label;
}
