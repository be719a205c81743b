// Rows of few classes, in workgroup memory: rows/driver/staged.wgsl brings them there and takes their gradients away. A row is one
// invocation's.

// Rows lie an odd number of words apart: neighbouring invocations, each at the same class of its row, meet in no bank.
override STRIDE: u32 = CLASSES | 1u;
// (naga takes no expression of overrides for a size, but an override.)
override STAGE: u32 = WORKGROUP * STRIDE;

// Logits, then gradients.
var<workgroup> stage: array<u32, STAGE>;
// Where in it the row begins.
var<private> stage_start: u32;

fn row_pairs(at: u32) -> u32 {
    return (CLASSES + 7u) / 8u;
}

fn pair_classes(at: u32, p: u32) -> vec2<u32> {
    return vec2<u32>(8u * p) + vec2<u32>(0u, 4u);
}

fn in_four() -> vec4<u32> {
    return IN_FOUR;
}

fn pair_of(at: u32, class_index: u32) -> u32 {
    return class_index / 8u;
}

const FIRST_PAIR_IS_WHOLE = true;

fn staged_four(j: u32) -> vec4<u32> {
    let i = min(vec4<u32>(j) + IN_FOUR, vec4<u32>(CLASSES - 1u)) + stage_start;
    return vec4<u32>(stage[i.x], stage[i.y], stage[i.z], stage[i.w]);
}

fn load_whole_pair(at: u32, p: u32) -> Eight {
    return load_pair(at, p);
}

fn load_pair(at: u32, p: u32) -> Eight {
    return Eight(staged_four(8u * p), staged_four(8u * p + 4u));
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return stage[stage_start + class_index];
}

fn stage_four(j: u32, bits: vec4<u32>) {
    if (j < CLASSES) {
        stage[stage_start + j] = bits.x;
    }
    if (j + 1u < CLASSES) {
        stage[stage_start + j + 1u] = bits.y;
    }
    if (j + 2u < CLASSES) {
        stage[stage_start + j + 2u] = bits.z;
    }
    if (j + 3u < CLASSES) {
        stage[stage_start + j + 3u] = bits.w;
    }
}

fn store_whole_pair(at: u32, p: u32, bits: Eight) {
    store_pair(at, p, bits);
}

fn store_pair(at: u32, p: u32, bits: Eight) {
    stage_four(8u * p, bits.a);
    stage_four(8u * p + 4u, bits.b);
}
