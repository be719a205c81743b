// Cross-entropy as other frameworks shape it, the yardstick: 256 threads per row, a tree in workgroup memory, three passes
// over the logits (maximum, sum, gradient). Kept as it is, so that figures of different versions compare.
//
//   logits, gradient   (N, C)
//   labels, losses     (N)
//   total              ()  the mean loss, by the entry point `mean`

override ROWS: u32;
override CLASSES: u32;
override SCALE: f32;    // 1 / N

const THREADS = 256u;

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(4) var<storage, read> terms: array<f32>;
@group(0) @binding(5) var<storage, read_write> total: array<f32>;

var<workgroup> cells: array<f32, THREADS>;

fn tree_max(lane: u32, v: f32) -> f32 {
    // The cells of the tree before have been read.
    workgroupBarrier();
    cells[lane] = v;
    for (var step = THREADS / 2u; step > 0u; step >>= 1u) {
        // The upper half is written.
        workgroupBarrier();
        if (lane < step) {
            cells[lane] = max(cells[lane], cells[lane + step]);
        }
    }
    // The result is written.
    workgroupBarrier();
    return cells[0];
}

fn tree_sum(lane: u32, v: f32) -> f32 {
    // The cells of the tree before have been read.
    workgroupBarrier();
    cells[lane] = v;
    for (var step = THREADS / 2u; step > 0u; step >>= 1u) {
        // The upper half is written.
        workgroupBarrier();
        if (lane < step) {
            cells[lane] += cells[lane + step];
        }
    }
    // The result is written.
    workgroupBarrier();
    return cells[0];
}

@compute @workgroup_size(THREADS)
fn rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    let start = row * CLASSES;
    let end = start + CLASSES;

    var largest = -0x1.fffffep+127f;
    for (var i = start + lane; i < end; i += THREADS) {
        largest = max(largest, logits[i]);
    }
    let m = tree_max(lane, largest);

    var sum = 0.0;
    for (var i = start + lane; i < end; i += THREADS) {
        sum += exp(logits[i] - m);
    }
    let d = tree_sum(lane, sum);

    let own = start + labels[row];
    for (var i = start + lane; i < end; i += THREADS) {
        let p = exp(logits[i] - m) / d;
        gradient[i] = SCALE * (p - select(0.0, 1.0, i == own));
    }
    if (lane == 0u) {
        losses[row] = m + log(d) - logits[own];
    }
}

@compute @workgroup_size(THREADS)
fn mean(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < ROWS; i += THREADS) {
        sum += terms[i];
    }
    let all = tree_sum(lane, sum);
    if (lane == 0u) {
        total[0] = SCALE * all;
    }
}
