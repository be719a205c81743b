// Cross-entropy written for speed alone, to measure what the crate's guarantees cost: one subgroup per row and an online softmax
// like the crate's kernel on CPU adapters, but nothing looks for NaN or infinities, sums are neither compensated nor of a fixed
// order, differences may overflow, and exp and log are WGSL's. Compared with, never offered.
//
//   logits, gradient   (N, C), by quads
//   labels, losses     (N)
//   terms, sums        what `sum` adds up by chunks: losses to partial sums, partial sums to the mean

override LANES: u32;    // of a subgroup, which is the workgroup
override ROWS: u32;     // N; of `sum`, terms
override QUADS: u32;    // C / 4
override CHUNK: u32;    // terms that a workgroup adds up
override SCALE: f32;    // 1 / N
override GRID_X: u32;   // workgroups along x
override WANT_GRAD: bool;

@group(0) @binding(0) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> terms: array<f32>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;

fn largest4(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn sum4(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(LANES)
fn rows(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x + workgroup.y * GRID_X;
    if (row >= ROWS) {
        return;
    }
    let start = row * QUADS;
    let whole = QUADS / (4u * LANES) * 4u * LANES;
    var m = -0x1.fffffep+127f;
    var d = 0.0;
    // Loops that leave at the end of their body, as the crate's do.
    if (whole > 0u) {
        var q = lane;
        loop {
            let at = start + q;
            let a = logits[at];
            let b = logits[at + LANES];
            let c = logits[at + 2u * LANES];
            let e = logits[at + 3u * LANES];
            let top = max(m, largest4(max(max(a, b), max(c, e))));
            d = d * exp(m - top) + sum4((exp(a - top) + exp(b - top)) + (exp(c - top) + exp(e - top)));
            m = top;
            q += 4u * LANES;
            if (q >= whole) {
                break;
            }
        }
    }
    for (var q = whole + lane; q < QUADS; q += LANES) {
        let a = logits[start + q];
        let top = max(m, largest4(a));
        d = d * exp(m - top) + sum4(exp(a - top));
        m = top;
    }
    let top = subgroupMax(m);
    let lse = top + log(subgroupAdd(d * exp(m - top)));
    let label = labels[row];
    if (lane == 0u) {
        losses[row] = lse - logits[start + label / 4u][label % 4u];
    }
    if (WANT_GRAD && lane < QUADS) {
        let factor = SCALE * exp(top - lse);
        var q = lane;
        loop {
            let g = factor * exp(logits[start + q] - top);
            let own = vec4<u32>(label - 4u * q) == vec4<u32>(0u, 1u, 2u, 3u);
            gradient[start + q] = g - select(vec4<f32>(0.0), vec4<f32>(SCALE), own);
            q += LANES;
            if (q >= QUADS) {
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
