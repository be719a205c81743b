// What a device makes of every f16 where it widens them by unpack2x16float, of which WGSL promises neither NaN nor subnormals. A kernel
// of its own, run once per device, with the very file that kernels link where it is proven; no loss links it. The host judges the
// results: src/gpu/prove.rs.
//
//   halves    (16384, 4)  all f16, two in a word
//   widened   (16384, 4)  the same as f32, and what they are

struct Widened {
    bits: vec4<u32>,
    kind: vec4<u32>,        // 0: finite, 1: infinite, 2: NaN, by the comparisons of losses, which no compiler may take for false
}

@group(0) @binding(0) var<storage, read> halves: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read_write> widened: array<Widened>;

// As in lib/math.wgsl.
const ABS_BITS = 0x7fffffffu;
const INF_BITS = 0x7f800000u;

@compute @workgroup_size(64)
fn widen_f16(@builtin(global_invocation_id) invocation: vec3<u32>) {
    let bits = widen_words(halves[invocation.x]);
    let magnitude = bits & vec4<u32>(ABS_BITS);
    let kind = select(vec4<u32>(0u), vec4<u32>(1u), magnitude >= vec4<u32>(INF_BITS));
    widened[invocation.x] = Widened(bits, select(kind, vec4<u32>(2u), magnitude > vec4<u32>(INF_BITS)));
}
