// Rows of a tile, in registers: rows/driver/tile.wgsl reads and writes it by aligned fours, though a row alone may not begin at one. A row
// is one invocation's.

// Logits, then gradients. At most 64: TILE * CLASSES.
var<private> tile: array<u32, 64>;
// Where in it the row begins.
var<private> tile_start: u32;

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

fn tile_four(j: u32) -> vec4<u32> {
    let i = min(vec4<u32>(j) + IN_FOUR, vec4<u32>(CLASSES - 1u)) + tile_start;
    return vec4<u32>(tile[i.x], tile[i.y], tile[i.z], tile[i.w]);
}

fn load_whole_pair(at: u32, p: u32) -> Eight {
    return load_pair(at, p);
}

fn load_pair(at: u32, p: u32) -> Eight {
    return Eight(tile_four(8u * p), tile_four(8u * p + 4u));
}

fn load_logit(at: u32, class_index: u32) -> u32 {
    return read_one(at + class_index);
}

fn keep_four(j: u32, bits: vec4<u32>) {
    if (j < CLASSES) {
        tile[tile_start + j] = bits.x;
    }
    if (j + 1u < CLASSES) {
        tile[tile_start + j + 1u] = bits.y;
    }
    if (j + 2u < CLASSES) {
        tile[tile_start + j + 2u] = bits.z;
    }
    if (j + 3u < CLASSES) {
        tile[tile_start + j + 3u] = bits.w;
    }
}

fn store_whole_pair(at: u32, p: u32, bits: Eight) {
    store_pair(at, p, bits);
}

fn store_pair(at: u32, p: u32, bits: Eight) {
    keep_four(8u * p, bits.a);
    keep_four(8u * p + 4u, bits.b);
}
