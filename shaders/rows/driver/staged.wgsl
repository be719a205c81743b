// Rows of few classes: a workgroup takes a row for each of its invocations, reads them together into workgroup memory and writes their
// gradients from there, neighbouring invocations neighbouring words. Any C: a workgroup's rows begin at a whole word.

// Where an element of the workgroup's rows stands: its row's number is the quotient.
fn stage_place(i: u32) -> u32 {
    if (STRIDE == CLASSES) {
        return i;
    }
    return i + i / CLASSES;
}

// The workgroup's elements invocation + k WORKGROUP, of four k; past the last one, that again. A workgroup that a grid of two dimensions
// has too many reads the last row's.
fn read_elements(first: u32, count: u32, invocation: u32, k: u32) -> vec4<u32> {
    let own = first + min(vec4<u32>(invocation) + (vec4<u32>(k) + IN_FOUR) * WORKGROUP, vec4<u32>(count - 1u));
    let at = min(own, vec4<u32>(u.dispatch.rows * CLASSES - 1u));
    return vec4<u32>(read_one(at.x), read_one(at.y), read_one(at.z), read_one(at.w));
}

fn stage_elements(bits: vec4<u32>, invocation: u32, k: u32) {
    let i = vec4<u32>(invocation) + (vec4<u32>(k) + IN_FOUR) * WORKGROUP;
    if (CLASSES > k) {
        stage[stage_place(i.x)] = bits.x;
    }
    if (CLASSES > k + 1u) {
        stage[stage_place(i.y)] = bits.y;
    }
    if (CLASSES > k + 2u) {
        stage[stage_place(i.z)] = bits.z;
    }
    if (CLASSES > k + 3u) {
        stage[stage_place(i.w)] = bits.w;
    }
}

// An invocation stages as many elements as it has classes, at most 16: all loads are issued before the first is used.
fn stage_rows(first: u32, count: u32, invocation: u32) {
    let a = read_elements(first, count, invocation, 0u);
    let b = read_elements(first, count, invocation, 4u);
    let c = read_elements(first, count, invocation, 8u);
    let d = read_elements(first, count, invocation, 12u);
    stage_elements(a, invocation, 0u);
    stage_elements(b, invocation, 4u);
    stage_elements(c, invocation, 8u);
    stage_elements(d, invocation, 12u);
}

fn write_rows(first: u32, count: u32, invocation: u32) {
    let words = (count + WORD_ELEMENTS - 1u) / WORD_ELEMENTS;
    for (var w = invocation; w < words; w += WORKGROUP) {
        let i = WORD_ELEMENTS * w;
        let bits = vec2<u32>(stage[stage_place(i)], stage[stage_place(min(i + WORD_ELEMENTS - 1u, count - 1u))]);
        if (i + WORD_ELEMENTS <= count) {
            write_word((first + i) / WORD_ELEMENTS, bits);
        } else {
            write_one(first + i, bits.x);
        }
    }
}

@compute @workgroup_size(WORKGROUP)
fn rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let in_band = enter_rows(workgroup, invocation);
    let first_row = in_band - invocation;
    let first = first_row * CLASSES;
    let count = min(WORKGROUP, u.dispatch.rows - min(first_row, u.dispatch.rows)) * CLASSES;
    stage_rows(first, count, invocation);
    // All logits are there.
    workgroupBarrier();
    if (in_band < u.dispatch.rows) {
        stage_start = invocation * STRIDE;
        one_row(in_band, true);
    }
    if (WANT_GRAD) {
        // All gradients are there.
        workgroupBarrier();
        write_rows(first, count, invocation);
    }
    finish_batch(invocation);
}
