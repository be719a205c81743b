// Copies the logits of a band, before a loss overwrites them that compares each with many others: word by word, whatever their type.
//
//   input, input_copy   (N, C, D)

struct Params {
    spare: vec4<u32>,
}

struct Uniforms {
    dispatch: DispatchParams,
    params: Params,
}

@group(0) @binding(1) var<storage, read> input: array<u32>;
@group(0) @binding(20) var<storage, read_write> input_copy: array<u32>;

@compute @workgroup_size(64)
fn copy_input(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let word = (workgroup.x + workgroup.y * u.dispatch.grid_x) * 64u + invocation;
    if (word < u.dispatch.item_count) {
        input_copy[word] = input[word];
    }
}
