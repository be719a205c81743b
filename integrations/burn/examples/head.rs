//! The head of a language model: 2048 tokens, 50 257 classes, of which one is padding. The gradient takes the place of
//! the logits, so one tensor of that size is enough.
//!
//! ```sh
//! cargo run --release --example head [TOKENS [CLASSES]]
//! ```

use std::time::Instant;

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Distribution, Int, Tensor};
use deeploss_burn::{CrossEntropy, Error, Forward, check};

const WIDTH: usize = 64;

fn main() -> Result<(), Error> {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    let (wanted, classes) = (*sizes.first().unwrap_or(&2048), *sizes.get(1).unwrap_or(&50_257));
    let device = Device::default().autodiff();
    device.seed(1);
    let tokens = wanted.min(largest_buffer(&device) / (4 * classes)).max(1);
    if tokens < wanted {
        println!("{tokens} tokens in place of {wanted}: the device has no larger buffers");
    }
    let embedded = Tensor::<2>::random([tokens, WIDTH], Distribution::Normal(0.0, 1.0), &device);
    let weight = Tensor::<2>::random([WIDTH, classes], Distribution::Normal(0.0, 0.1), &device).require_grad();
    let labels: Vec<i32> = (0..tokens).map(|token| (token * 7919 % classes) as i32).collect();
    let labels = Tensor::<1, Int>::from_ints(labels.as_slice(), &device);
    let loss = CrossEntropy::new().ignore_index(0).z_loss(1e-4);

    let wait = || device.sync().expect("the device runs");
    let in_use = || device.memory_pool_usage().map_or(0.0, |usage| usage.bytes_in_use as f64 / 1e6);
    println!("logits ({tokens}, {classes}): {:.0} MB", (tokens * classes * 4) as f64 / 1e6);
    for step in 0..3 {
        let logits = embedded.clone().matmul(weight.clone());
        wait();
        let (held, start) = (in_use(), Instant::now());
        let value = loss.forward(logits, labels.clone());
        wait();
        let (forward, more) = (start.elapsed().as_secs_f64(), in_use() - held);
        println!("step {step}: forward  {forward:.3} s, {more:5.1} MB more");
        let grads = value.backward();
        wait();
        let (all, more) = (start.elapsed().as_secs_f64(), in_use() - held);
        let of_weight = weight.grad(&grads).expect("it was asked for").dims().iter().product::<usize>() as f64 * 4e-6;
        let backward = all - forward;
        println!(
            "        backward {backward:.3} s with the product's, {more:5.1} MB more, {of_weight:.1} of them its gradient"
        );
        println!("        loss {:.4}", value.into_scalar::<f32>());
    }
    check(&device)
}

/// Bytes of the largest buffer that the device gives.
fn largest_buffer(device: &Device) -> usize {
    match device.as_dispatch().clone() {
        DispatchDevice::Autodiff(device) => largest_buffer(&Device::from(device.inner())),
        DispatchDevice::Cube(device) => device.client().properties().memory.max_page_size as usize,
        #[allow(unreachable_patterns, reason = "where Burn was built with other backends")]
        _ => usize::MAX,
    }
}
