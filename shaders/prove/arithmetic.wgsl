// What WGSL does not promise of arithmetic, tried on a device: the accuracy of exp2, one rounding in fma, and that `opaque` of
// lib/math.wgsl keeps (a + b) - a as written. A kernel of its own, run once per device; no loss links it. Every operand comes from
// a buffer, so that no compiler knows it. The host judges the results: src/gpu/prove.rs.
//
//   operands    (16, 64)  one record per invocation
//   results     (16, 64)  what the device makes of it

struct Operands {
    exponent: vec4<f32>,        // of exp2
    half: vec4<f32>,            // half the argument of exp
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    zero: vec4<u32>,            // 0, for `opaque`
}

struct Results {
    power: vec4<f32>,           // exp2(exponent)
    exponential: vec4<f32>,     // exp(2 half) as lib/exp/careful.wgsl computes it
    fused: vec4<f32>,           // a * b + c
    fused_apart: vec4<f32>,     // the same, a component at a time
    sum: vec4<f32>,             // a + b
    lost: vec4<f32>,            // what rounding takes from a + b
}

@group(0) @binding(0) var<storage, read> operands: array<Operands>;
@group(0) @binding(1) var<storage, read_write> results: array<Results>;

// As in lib/params.wgsl.
var<private> zero: u32;

@compute @workgroup_size(64)
fn arithmetic(@builtin(global_invocation_id) invocation: vec3<u32>) {
    let given = operands[invocation.x];
    zero = given.zero.x;
    let a = given.a;
    let b = given.b;
    let c = given.c;
    results[invocation.x] = Results(
        exp2(given.exponent),
        exp_twice4(given.half),
        fma(a, b, c),
        vec4<f32>(fma(a.x, b.x, c.x), fma(a.y, b.y, c.y), fma(a.z, b.z, c.z), fma(a.w, b.w, c.w)),
        opaque4(a + b),
        vec4<f32>(lost(a.x, b.x), lost(a.y, b.y), lost(a.z, b.z), lost(a.w, b.w)),
    );
}

// Knuth's two-sum, as in lib/partial_sum.wgsl.
fn lost(a: f32, b: f32) -> f32 {
    let sum = opaque(a + b);
    let part = opaque(sum - a);
    return opaque(a - opaque(sum - part)) + opaque(b - part);
}
