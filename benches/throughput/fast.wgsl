// Cross-entropy written for speed alone, to measure what the crate's guarantees cost: one subgroup per row and an online softmax
// like the crate's kernel on CPU adapters, but nothing looks for NaN or infinities, sums are neither compensated nor of a fixed
// order, differences may overflow, and exp and log are WGSL's. Compared with, never offered.
//
//   logits, gradient   (N, C), by eights, in the words that the crate moves: io/words/
//   labels, losses     (N)
//   terms, sums        what `sum` adds up by chunks: losses to partial sums, partial sums to the mean

override LANES: u32;    // of a subgroup, which is the workgroup
override ROWS: u32;     // N; of `sum`, terms
override EIGHTS: u32;  // C / 8
override CHUNK: u32;    // terms that a workgroup adds up
override SCALE: f32;    // 1 / N
override GRID_X: u32;   // workgroups along x
override WANT_GRAD: bool;

@group(0) @binding(0) var<storage, read> logits: array<Bytes32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<Bytes32>;
@group(0) @binding(4) var<storage, read> terms: array<f32>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;

struct Logits8 {
    a: vec4<f32>,
    b: vec4<f32>,
}

fn read_eight(at: u32) -> Logits8 {
    let words = words8(logits[at]);
    return Logits8(bitcast<vec4<f32>>(words.a), bitcast<vec4<f32>>(words.b));
}

fn largest4(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn sum4(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

// SCALE at the label among classes j .. j + 3.
fn one_hot(label: u32, j: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), vec4<f32>(SCALE), vec4<u32>(label - j) == vec4<u32>(0u, 1u, 2u, 3u));
}

@compute @workgroup_size(LANES)
fn rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x + workgroup.y * GRID_X;
    if (row >= ROWS) {
        return;
    }
    let start = row * EIGHTS;
    let whole = EIGHTS / (2u * LANES) * 2u * LANES;
    var m = -0x1.fffffep+127f;
    var d = 0.0;
    // Loops that leave at the end of their body, as the crate's do.
    if (whole > 0u) {
        var q = lane;
        loop {
            let at = start + q;
            let v = read_eight(at);
            let w = read_eight(at + LANES);
            let top = max(m, largest4(max(max(v.a, v.b), max(w.a, w.b))));
            d = d * exp(m - top) + sum4((exp(v.a - top) + exp(v.b - top)) + (exp(w.a - top) + exp(w.b - top)));
            m = top;
            q += 2u * LANES;
            if (q >= whole) {
                break;
            }
        }
    }
    for (var q = whole + lane; q < EIGHTS; q += LANES) {
        let v = read_eight(start + q);
        let top = max(m, largest4(max(v.a, v.b)));
        d = d * exp(m - top) + sum4(exp(v.a - top) + exp(v.b - top));
        m = top;
    }
    let top = subgroupMax(m);
    let lse = top + log(subgroupAdd(d * exp(m - top)));
    let label = labels[row];
    if (lane == 0u) {
        let own = read_eight(start + label / 8u);
        losses[row] = lse - select(own.a, own.b, (label & 4u) != 0u)[label & 3u];
    }
    if (WANT_GRAD && lane < EIGHTS) {
        let factor = SCALE * exp(top - lse);
        var q = lane;
        loop {
            let v = read_eight(start + q);
            let a = factor * exp(v.a - top) - one_hot(label, 8u * q);
            let b = factor * exp(v.b - top) - one_hot(label, 8u * q + 4u);
            gradient[start + q] = bytes32(Eight(bitcast<vec4<u32>>(a), bitcast<vec4<u32>>(b)));
            q += LANES;
            if (q >= EIGHTS) {
                break;
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn sum(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let end = min((workgroup.x + 1u) * CHUNK, ROWS);
    var sum = 0.0;
    for (var i = workgroup.x * CHUNK + lane; i < end; i += LANES) {
        sum += terms[i];
    }
    let all = subgroupAdd(sum);
    if (lane == 0u) {
        sums[workgroup.x] = SCALE * all;
    }
}
