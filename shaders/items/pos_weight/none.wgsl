// The positive part of every item weighs 1.

fn load_pos_weight(i: u32) -> vec4<f32> {
    return vec4<f32>(1.0);
}
