//! A small network learns from a large one: the divergence of their softened predictions, by both logits, in one
//! kernel.
//!
//! ```sh
//! cargo run --release --example distillation
//! ```

mod common;

use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use common::{Digits, Network};
use deeploss_burn::{CrossEntropy, Error, Forward, KlFromLogits, check};

fn main() -> Result<(), Error> {
    let device = Device::default().autodiff();
    device.seed(1);
    let digits = Digits::load(&device);
    let (pixels, labels) = digits.train.clone();

    let hard = |logits: Tensor<2>| CrossEntropy::new().forward(logits, labels.clone());
    let teacher = train(Network::new(128, &device), &pixels, &hard);
    let alone = train(Network::new(6, &device), &pixels, &hard);
    let wisdom = teacher.forward(pixels.clone()).detach();
    let soft = |logits: Tensor<2>| KlFromLogits::new().temperature(3.0).forward(logits, wisdom.clone());
    let taught = train(Network::new(6, &device), &pixels, &soft);
    check(&device)?;

    for (name, network) in
        [("teacher, 128 neurons", teacher), ("6 neurons, from labels", alone), ("6 neurons, from the teacher", taught)]
    {
        println!("{name:28} {:5.1} % right", 100.0 * network.accuracy(digits.test.clone()));
    }
    Ok(())
}

fn train(mut network: Network, pixels: &Tensor<2>, loss: &dyn Fn(Tensor<2>) -> Tensor<1>) -> Network {
    let mut optimizer = AdamConfig::new().init();
    for _ in 0..100 {
        let grads = loss(network.forward(pixels.clone())).backward();
        let grads = GradientsParams::from_grads(grads, &network);
        network = optimizer.step(0.02, network, grads);
    }
    network
}
