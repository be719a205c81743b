// Weights of the positive part, which broadcast to the items' shape; read in place.

@group(0) @binding(4) var<storage, read> pos_weight: array<f32>;

fn load_pos_weight(i: u32) -> vec4<f32> {
    let at = offsets(i, u.broadcast.pos_weight);
    return vec4<f32>(pos_weight[at.x], pos_weight[at.y], pos_weight[at.z], pos_weight[at.w]);
}
