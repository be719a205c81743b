// The second input of a loss that compares two, or the mask of ignored items: broadcast to the items' shape, read in place.

const HAS_SECOND = true;

@group(0) @binding(5) var<storage, read> second: array<u32>;

fn load_second(i: u32) -> vec4<u32> {
    let at = offsets(i, u.broadcast.second);
    return vec4<u32>(second[at.x], second[at.y], second[at.z], second[at.w]);
}
