// Weights that broadcast to the items' shape, read in place.

override HAS_WEIGHT: bool = false;
override HAS_POS_WEIGHT: bool = false;

@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(8) var<storage, read> pos_weight: array<f32>;

fn load_weight(i: u32) -> vec4<f32> {
    if (!HAS_WEIGHT) {
        return vec4<f32>(1.0);
    }
    let at = offsets(i, u.broadcast.weight);
    return vec4<f32>(weight[at.x], weight[at.y], weight[at.z], weight[at.w]);
}

fn load_pos_weight(i: u32) -> vec4<f32> {
    if (!HAS_POS_WEIGHT) {
        return vec4<f32>(1.0);
    }
    let at = offsets(i, u.broadcast.pos_weight);
    return vec4<f32>(pos_weight[at.x], pos_weight[at.y], pos_weight[at.z], pos_weight[at.w]);
}
