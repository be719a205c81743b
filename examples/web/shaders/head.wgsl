// What the head's loss is measured beside: the same bytes read and the same bytes written, with nothing done to them.

@group(0) @binding(0) var<storage, read> logits: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> grad: array<vec4u>;

@compute @workgroup_size(256)
fn copy(@builtin(global_invocation_id) id: vec3u) {
    if (id.x < arrayLength(&logits)) { grad[id.x] = logits[id.x]; }
}
