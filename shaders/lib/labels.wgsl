// Class indices as targets.

override HAS_IGNORE: bool = false;

const COUNTS = 0u;
const IGNORED = 1u;
const OUT_OF_RANGE = 2u;
const NO_CLASS = 0xffffffffu;

// `class_index` is a valid class whatever the state, except where the target is no class index at all.
struct Label {
    class_index: u32,
    state: u32,
}

// Which of four labels are ignored.
fn are_ignored(bits: vec4<u32>) -> vec4<bool> {
    if (!HAS_IGNORE) {
        return vec4<bool>(false);
    }
    let ignore = bitcast<vec4<u32>>(u.dispatch.ignore);
    return (bits == ignore.xxxx) | (bits == ignore.yyyy) | (bits == ignore.zzzz) | (bits == ignore.wwww);
}

fn read_label(bits: u32) -> Label {
    if (are_ignored(vec4<u32>(bits)).x) {
        return Label(0u, IGNORED);
    }
    if (bits >= u.dispatch.classes) {
        return Label(0u, OUT_OF_RANGE);
    }
    return Label(bits, COUNTS);
}

// Bits of the loss of a row that does not count.
fn skipped_loss(label: Label) -> u32 {
    return select(BAD_BITS, 0u, label.state == IGNORED);
}
