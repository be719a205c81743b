// Nobody asked for the gradient of the target, or it has none.

const WANT_GRAD_TARGET = false;

fn store_grad_target(at: u32, classes: vec4<u32>, bits: vec4<u32>) {
}
