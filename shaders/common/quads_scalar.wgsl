// Logits one by one, for any C and any distance between two classes (class axis not last: read in place).

@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(5) var<storage, read_write> grad_input: array<u32>;

// Classes past the last one repeat the last one.
fn load_quad(at: u32, quad: u32) -> vec4<u32> {
    let j = min(vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(u.frame.classes - 1u)) * u.frame.inner + at;
    return vec4<u32>(input[j.x], input[j.y], input[j.z], input[j.w]);
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return input[at + class_index * u.frame.inner];
}

fn store_quad(at: u32, quad: u32, bits: vec4<u32>) {
    let j = 4u * quad;
    let element = at + j * u.frame.inner;
    let left = u.frame.classes - j;
    grad_input[element] = bits.x;
    if (left > 1u) {
        grad_input[element + u.frame.inner] = bits.y;
    }
    if (left > 2u) {
        grad_input[element + 2u * u.frame.inner] = bits.z;
    }
    if (left > 3u) {
        grad_input[element + 3u * u.frame.inner] = bits.w;
    }
}
