//! Trains a network on handwritten digits, once with Burn's own cross-entropy and once with deeploss': equal curves,
//! and what each takes.
//!
//! ```sh
//! cargo run --release --example digits
//! ```

mod common;

use std::time::Instant;

use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor};
use common::{Digits, Network};

fn main() -> Result<(), deeploss_burn::Error> {
    let device = Device::default().autodiff();
    device.seed(1);
    let digits = Digits::load(&device);
    let network = Network::new(64, &device);

    let burns = burn::nn::loss::CrossEntropyLossConfig::new().with_smoothing(Some(0.1)).init(&device);
    let ours = deeploss_burn::nn::loss::CrossEntropyLossConfig::new().with_smoothing(Some(0.1)).init(&device);
    // Once for the compilers, which is not timed.
    train(&network, &digits, 2, &|logits, labels| burns.forward(logits, labels));
    train(&network, &digits, 2, &|logits, labels| ours.forward(logits, labels));
    // What the allocator holds when each has run, of which the other has left nothing.
    let reserved = || device.memory_pool_usage().map_or(0.0, |usage| usage.bytes_reserved as f64 / 1e6);
    device.memory_cleanup();
    let (theirs, their_time) = train(&network, &digits, 100, &|logits, labels| burns.forward(logits, labels));
    let their_memory = reserved();
    device.memory_cleanup();
    let (mine, my_time) = train(&network, &digits, 100, &|logits, labels| ours.forward(logits, labels));
    let my_memory = reserved();
    deeploss_burn::check(&device)?;

    println!("step     Burn's loss   deeploss");
    for step in [0, 1, 3, 10, 30, 99] {
        println!("{step:4}  {:14.6} {:10.6}", theirs[step], mine[step]);
    }
    let apart = theirs.iter().zip(&mine).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("time   {their_time:13.2} s {my_time:8.2} s");
    println!("memory {their_memory:12.1} MB {my_memory:7.1} MB, network and data included");
    println!("The curves are {apart:.1e} apart at most.");
    Ok(())
}

/// The loss of every step, and the seconds that all took.
fn train(
    network: &Network,
    digits: &Digits,
    steps: usize,
    loss: &dyn Fn(Tensor<2>, Tensor<1, Int>) -> Tensor<1>,
) -> (Vec<f32>, f64) {
    let mut network = network.clone();
    let mut optimizer = SgdConfig::new().init();
    let mut curve = Vec::new();
    let start = Instant::now();
    for _ in 0..steps {
        let (pixels, labels) = digits.train.clone();
        let loss = loss(network.forward(pixels), labels);
        curve.push(loss.clone());
        let grads = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(0.5, network, grads);
    }
    // Read at the end: a read waits for the device.
    let curve = curve.into_iter().map(|loss| loss.into_scalar()).collect();
    let seconds = start.elapsed().as_secs_f64();
    if steps > 10 {
        println!("{:.1} % of the test digits are right", 100.0 * network.accuracy(digits.test.clone()));
    }
    (curve, seconds)
}
