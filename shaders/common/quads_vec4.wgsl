// Logits as 16-byte loads: four neighbouring classes at a time. Linked where C is a multiple of 4 and the class axis is last.
// The same interface stands in quads_scalar.wgsl.

@group(0) @binding(1) var<storage, read> input: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> grad_input: array<vec4<u32>>;

// Four classes from 4 * quad on, of the row whose class 0 is element `at`; all of them exist.
fn load_quad(at: u32, quad: u32) -> vec4<u32> {
    return input[(at >> 2u) + quad];
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return input[(at >> 2u) + (class_index >> 2u)][class_index & 3u];
}

fn store_quad(at: u32, quad: u32, bits: vec4<u32>) {
    grad_input[(at >> 2u) + quad] = bits;
}
