// No other gradient than that of the input is wanted.

const WANT_GRAD_SECOND = false;

fn store_grad_second(fours: vec2<u32>, bits: Eight) {
}
