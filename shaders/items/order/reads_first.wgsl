// The gradient overwrites the input, which exact arithmetic would need again: it is stored once it is known that the chunk is ordinary.
// The chunk is computed again for it, from what a cache still holds.

const STORES_AT_ONCE = false;

fn store_ordinary(start: u32, end: u32, scale: Scale) {
    assume_finite = true;
    for (var q = lane_start(start); q < end; q += 4u * LANES) {
        let first = load_step(q);
        let second = load_step(q + 2u * LANES);
        store_grad_input(first.fours, Eight(grads_of_four(first.a, scale).dx, grads_of_four(first.b, scale).dx));
        store_grad_input(second.fours, Eight(grads_of_four(second.a, scale).dx, grads_of_four(second.b, scale).dx));
    }
    assume_finite = false;
}
