// Losses of one input: there is no second one.

const HAS_SECOND = false;

fn load_second(i: u32) -> vec4<u32> {
    return vec4<u32>(0u);
}
