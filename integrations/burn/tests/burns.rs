//! Burn's own losses and ours of the same name: values and gradients, on the same tensors.

use burn::nn::loss as theirs;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Distribution, Int, Tensor};
use deeploss_burn::nn::loss as ours;

use crate::support::device;

fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 2.0), device)
}

fn signs<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    normal(shape, device).greater_elem(0.0).float() * 2.0 - 1.0
}

fn labels(rows: usize, classes: usize, device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i32> = (0..rows).map(|row| (row * 7 % classes) as i32).collect();
    Tensor::from_ints(labels.as_slice(), device)
}

/// Two losses of one input: equal values, equal gradients from an upstream gradient that is not 1.
fn same<const D: usize, const R: usize>(
    what: &str,
    input: Tensor<D>,
    ours: impl FnOnce(Tensor<D>) -> Tensor<R>,
    theirs: impl FnOnce(Tensor<D>) -> Tensor<R>,
) {
    let input = input.require_grad();
    let (ours, theirs) = (ours(input.clone()), theirs(input.clone()));
    assert_eq!(ours.dims(), theirs.dims(), "{what}");
    let gradient = |loss: Tensor<R>| input.grad(&loss.mul_scalar(3.0).sum().backward()).expect("a gradient");
    let gradients = (gradient(ours.clone()), gradient(theirs.clone()));
    near(what, ours.inner(), theirs.inner());
    near(what, gradients.0, gradients.1);
}

fn near<const D: usize>(what: &str, ours: Tensor<D>, theirs: Tensor<D>) {
    let ours = ours.into_data().convert::<f32>().try_to_vec::<f32>().expect("f32");
    let theirs = theirs.into_data().convert::<f32>().try_to_vec::<f32>().expect("f32");
    let scale = theirs.iter().fold(1e-3_f32, |most, value| most.max(value.abs()));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((ours - theirs).abs() <= 2e-5 * scale, "{what}: {ours} instead of {theirs}");
    }
}

#[test]
fn cross_entropy() {
    let device = device();
    let (n, c) = (37, 23);
    let targets = labels(n, c, &device);
    let weights: Vec<f32> = (0..c).map(|class| 0.5 + class as f32 * 0.1).collect();
    for pad_tokens in [None, Some(vec![3]), Some(vec![0, 1, 2, 3, 4, 5])] {
        for weights in [None, Some(weights.clone())] {
            for smoothing in [None, Some(0.1)] {
                let mine = ours::CrossEntropyLossConfig::new()
                    .with_pad_tokens(pad_tokens.clone())
                    .with_weights(weights.clone())
                    .with_smoothing(smoothing)
                    .init(&device);
                let burns = theirs::CrossEntropyLossConfig::new()
                    .with_pad_tokens(pad_tokens.clone())
                    .with_weights(weights.clone())
                    .with_smoothing(smoothing)
                    .init(&device);
                let what = format!(
                    "cross-entropy, pad {pad_tokens:?}, weights {}, smoothing {smoothing:?}",
                    weights.is_some()
                );
                let targets = || targets.clone();
                same(&what, normal([n, c], &device), |x| mine.forward(x, targets()), |x| burns.forward(x, targets()));
            }
        }
    }
    let mine = ours::CrossEntropyLossConfig::new().with_logits(false).init(&device);
    let burns = theirs::CrossEntropyLossConfig::new().with_logits(false).init(&device);
    let logits = normal([n, c], &device);
    let probabilities = |x| burn::tensor::activation::softmax(x, 1);
    same(
        "cross-entropy of probabilities",
        logits,
        |x| mine.forward(probabilities(x), targets.clone()),
        |x| burns.forward(probabilities(x), targets.clone()),
    );
}

#[test]
fn binary_cross_entropy() {
    let device = device();
    for smoothing in [None, Some(0.2)] {
        for weights in [None, Some(vec![0.5, 2.0, 1.0])] {
            for logits in [true, false] {
                let mine = ours::BinaryCrossEntropyLossConfig::new()
                    .with_smoothing(smoothing)
                    .with_weights(weights.clone())
                    .with_logits(logits)
                    .init(&device);
                let burns = theirs::BinaryCrossEntropyLossConfig::new()
                    .with_smoothing(smoothing)
                    .with_weights(weights.clone())
                    .with_logits(logits)
                    .init(&device);
                let what = format!("binary cross-entropy {smoothing:?} {weights:?} {logits}");
                let scores = |x: Tensor<2>| if logits { x } else { burn::tensor::activation::sigmoid(x) };
                let targets = normal([11, 3], &device).greater_elem(0.0).int();
                same(
                    &what,
                    normal([11, 3], &device),
                    |x| mine.forward(scores(x), targets.clone()),
                    |x| burns.forward(scores(x), targets.clone()),
                );
                let targets = targets.slice([0..11, 0..1]).reshape([11]);
                let scores = |x: Tensor<1>| if logits { x } else { burn::tensor::activation::sigmoid(x) };
                same(
                    &what,
                    normal([11], &device),
                    |x| mine.forward(scores(x), targets.clone()),
                    |x| burns.forward(scores(x), targets.clone()),
                );
            }
        }
    }
}

#[test]
fn the_others() {
    let device = device();
    let shape = [9, 6];
    let reductions = || [Reduction::Mean, Reduction::Sum, Reduction::Auto];
    let signs = signs(shape, &device);
    for reduction in reductions() {
        let (mine, burns) = (ours::SoftMarginLoss::new(), theirs::SoftMarginLoss::new());
        same(
            "soft margin",
            normal(shape, &device),
            |x| mine.forward(x, signs.clone(), reduction.clone()),
            |x| burns.forward(x, signs.clone(), reduction.clone()),
        );
        let mine = ours::HingeEmbeddingLossConfig::new().with_margin(1.5).init();
        let burns = theirs::HingeEmbeddingLossConfig::new().with_margin(1.5).init();
        same(
            "hinge embedding",
            normal(shape, &device),
            |x| mine.forward(x, signs.clone(), reduction.clone()),
            |x| burns.forward(x, signs.clone(), reduction.clone()),
        );
        let mine = ours::MarginRankingLossConfig::new().with_margin(0.5).init();
        let burns = theirs::MarginRankingLossConfig::new().with_margin(0.5).init();
        let second = normal(shape, &device);
        same(
            "margin ranking",
            normal(shape, &device),
            |x| mine.forward(x, second.clone(), signs.clone(), reduction.clone()),
            |x| burns.forward(x, second.clone(), signs.clone(), reduction.clone()),
        );
        for p in [1, 2] {
            let mine = ours::MultiMarginLossConfig::new().with_p(p).init();
            let burns = theirs::MultiMarginLossConfig::new().with_p(p).init();
            let targets = labels(9, 6, &device);
            same(
                "multi margin",
                normal(shape, &device),
                |x| mine.forward(x, targets.clone(), reduction.clone()),
                |x| burns.forward(x, targets.clone(), reduction.clone()),
            );
        }
    }
    for log_target in [false, true] {
        for reduction in reductions().into_iter().chain([Reduction::BatchMean]) {
            let mine = ours::KLDivLossConfig::new().with_log_target(log_target).init();
            let burns = theirs::KLDivLossConfig::new().with_log_target(log_target).init();
            let target = burn::tensor::activation::log_softmax(normal(shape, &device), 1);
            let target = if log_target { target } else { target.exp() };
            let scores = |x| burn::tensor::activation::log_softmax(x, 1);
            same(
                "divergence",
                normal(shape, &device),
                |x| mine.forward(scores(x), target.clone(), reduction.clone()),
                |x| burns.forward(scores(x), target.clone(), reduction.clone()),
            );
        }
    }
    let (mine, burns) = (ours::SoftMarginLoss::new(), theirs::SoftMarginLoss::new());
    same(
        "soft margin without reduction",
        normal(shape, &device),
        |x| mine.forward_no_reduction(x, signs.clone()),
        |x| burns.forward_no_reduction(x, signs.clone()),
    );
}
