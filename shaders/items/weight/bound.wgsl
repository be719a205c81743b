// Weights, which broadcast to the items' shape; read in place.

@group(0) @binding(3) var<storage, read> weight: array<f32>;

fn load_weight(i: u32) -> vec4<f32> {
    let at = offsets(i, u.broadcast.weight);
    return vec4<f32>(weight[at.x], weight[at.y], weight[at.z], weight[at.w]);
}
