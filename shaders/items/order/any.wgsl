// A gradient is stored as soon as it is computed, and computed once more in a chunk that needs exact arithmetic.

const STORES_AT_ONCE = true;

fn store_ordinary(start: u32, end: u32, scale: Scale) {
}
