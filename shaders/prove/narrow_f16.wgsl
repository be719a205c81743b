// How a device rounds to f16 by pack2x16float, of which WGSL promises neither a direction nor anything beyond the largest number. A
// kernel of its own, run once per device, with the very file that kernels link where it is proven; no loss links it. The operands
// come from a buffer, so that no compiler knows them. The host judges the results: src/gpu/prove.rs.
//
//   floats    (_, 4)  bits of f32
//   rounded   (_, 4)  the same as f16, two in a word

@group(0) @binding(0) var<storage, read> floats: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> rounded: array<vec2<u32>>;

// As in lib/math.wgsl.
const ABS_BITS = 0x7fffffffu;
const INF_BITS = 0x7f800000u;
const NAN_BITS = 0x7fc00000u;

@compute @workgroup_size(64)
fn narrow_f16(@builtin(global_invocation_id) invocation: vec3<u32>) {
    let bits = floats[invocation.x];
    // As gradients become NaN: no compiler may take that for impossible.
    let nan_mask = select(vec4<u32>(0u), vec4<u32>(NAN_BITS), (bits & vec4<u32>(ABS_BITS)) > vec4<u32>(INF_BITS));
    rounded[invocation.x] = narrow_words(bits | nan_mask);
}
