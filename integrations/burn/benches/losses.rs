//! Burn's losses and ours on the same tensors, in one process: time, launches, memory.
//!
//! ```sh
//! cargo bench --bench losses [SECONDS]
//! ```
//!
//! Forward and backward, to the gradient of the logits. Times are medians, taken in turns; the copy of the logits is
//! what the memory can do. Memory is what the allocator takes more for logits in the middle of a network, their
//! gradient and that of what they were computed from included; it counts in pages, which says little of small tensors.

#[path = "../tests/support/alone.rs"]
mod alone;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use burn::nn::loss::{BinaryCrossEntropyLossConfig, CrossEntropyLossConfig};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_cubecl::cubecl::logging::{LaunchObservation, LaunchObserver};
use deeploss_burn::{BceWithLogits, CrossEntropy, Forward, check};

/// A loss of logits and class indices, or of logits and labels of their shape.
type Step = Box<dyn Fn(Tensor<2>) -> Tensor<1>>;

struct Pair {
    name: &'static str,
    shape: [usize; 2],
    make: fn([usize; 2], &Device) -> [Step; 2],
}

const PAIRS: [Pair; 5] = [
    Pair { name: "cross_entropy", shape: [4096, 1000], make: cross_entropy },
    Pair { name: "cross_entropy", shape: [1024, 32_000], make: cross_entropy },
    Pair { name: "cross_entropy", shape: [16_384, 10], make: cross_entropy },
    Pair { name: "cross_entropy, smoothed", shape: [4096, 1000], make: smoothed },
    Pair { name: "bce_with_logits", shape: [4096, 1000], make: binary },
];

fn targets([n, c]: [usize; 2], device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i32> = (0..n).map(|row| (row * 7919 % c) as i32).collect();
    Tensor::from_ints(labels.as_slice(), device)
}

fn cross_entropy(shape: [usize; 2], device: &Device) -> [Step; 2] {
    let (burns, labels) = (CrossEntropyLossConfig::new().init(device), targets(shape, device));
    let same = labels.clone();
    [
        Box::new(move |x| burns.forward(x, labels.clone())),
        Box::new(move |x| CrossEntropy::new().forward(x, same.clone())),
    ]
}

fn smoothed(shape: [usize; 2], device: &Device) -> [Step; 2] {
    let burns = CrossEntropyLossConfig::new().with_smoothing(Some(0.1)).init(device);
    let labels = targets(shape, device);
    let same = labels.clone();
    let ours = CrossEntropy::new().label_smoothing(0.1);
    [Box::new(move |x| burns.forward(x, labels.clone())), Box::new(move |x| ours.forward(x, same.clone()))]
}

fn binary(shape: [usize; 2], device: &Device) -> [Step; 2] {
    let burns = BinaryCrossEntropyLossConfig::new().with_logits(true).init(device);
    let labels = Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), device).greater_elem(0.0).int();
    let values = labels.clone().float();
    [
        Box::new(move |x| burns.forward(x, labels.clone())),
        Box::new(move |x| BceWithLogits::new().forward(x, values.clone())),
    ]
}

#[derive(Default)]
struct Count(AtomicUsize);

impl LaunchObserver for Count {
    fn launched(&self, _kernel: &'static str) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Forward and backward; the gradient of a leaf.
fn step(loss: &Step, leaf: &Tensor<2>, logits: Tensor<2>) -> Tensor<2> {
    let mut grads = loss(logits).backward();
    leaf.grad_remove(&mut grads).expect("a gradient")
}

/// The seconds that the device is busy. What is computed is kept meanwhile: Burn's fusion computes nothing that nobody
/// has.
fn timed<T>(device: &Device, work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let kept = black_box(work());
    device.sync().expect("the device runs");
    let seconds = start.elapsed().as_secs_f64();
    drop(kept);
    seconds
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What the allocator takes more for logits that nobody else has and the gradient of what they were computed from, in
/// units of their size. On a device that has done nothing before.
fn peak(pair: &Pair, which: usize) -> f64 {
    let device = alone::alone();
    let steps = (pair.make)(pair.shape, &device);
    let leaf = Tensor::<2>::random(pair.shape, Distribution::Normal(0.0, 2.0), &device).require_grad();
    let logits = leaf.clone().mul_scalar(1.0);
    device.sync().expect("the device runs");
    device.memory_cleanup();
    device.sync().expect("the device runs");
    let reserved = || device.memory_pool_usage().map_or(f64::NAN, |usage| usage.bytes_reserved as f64);
    let before = reserved();
    timed(&device, || step(&steps[which], &leaf, logits));
    (reserved() - before) / (pair.shape[0] * pair.shape[1] * 4) as f64
}

fn main() -> Result<(), deeploss_burn::Error> {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(5.0);
    let device = Device::default().autodiff();
    device.seed(1);
    println!("{device:?}, {}", device.identity().map_or_else(String::new, |identity| identity.name));
    println!("| loss | shape | Burn, ms | deeploss, ms | ratio | a copy, ms | launches | more memory, in logits |");
    println!("|---|---|---:|---:|---:|---:|---|---|");
    for pair in &PAIRS {
        let memory = [0, 1].map(|which| peak(pair, which));
        let steps = (pair.make)(pair.shape, &device);
        let logits = Tensor::<2>::random(pair.shape, Distribution::Normal(0.0, 2.0), &device).require_grad();
        let once = |loss: &Step| timed(&device, || step(loss, &logits, logits.clone()));
        // Compilers and tuners first.
        for loss in &steps {
            (0..3).for_each(|_| _ = once(loss));
        }
        let launches = steps.each_ref().map(|loss| {
            let count = Arc::new(Count::default());
            let watching = LaunchObservation::new(count.clone());
            once(loss);
            drop(watching);
            count.0.load(Ordering::Relaxed)
        });
        let mut times = [const { Vec::new() }; 3];
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < seconds || times[0].len() < 5 {
            times[0].push(once(&steps[0]));
            times[1].push(once(&steps[1]));
            let plain = logits.clone().inner();
            times[2].push(timed(&device, || plain.mul_scalar(1.0)));
        }
        let [burns, ours, copy] = times.each_mut().map(|times| 1e3 * median(times));
        let [n, c] = pair.shape;
        println!(
            "| {} | ({n}, {c}) | {burns:.2} | {ours:.2} | {:.1} | {copy:.2} | {}, {} | {:.2}, {:.2} |",
            pair.name,
            burns / ours,
            launches[0],
            launches[1],
            memory[0],
            memory[1],
        );
    }
    check(&device)
}
