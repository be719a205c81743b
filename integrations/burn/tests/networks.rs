//! A small network: its gradients are slopes, and it learns as with Burn's own loss.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Distribution, Int, Tensor, activation::relu};
use deeploss_burn::{CrossEntropy, Forward, KlFromLogits, Loss, SigmoidFocal};

use crate::support::device;

#[derive(Module, Debug)]
struct Network {
    first: Linear,
    second: Linear,
}

impl Network {
    fn new(device: &Device) -> Self {
        Self { first: LinearConfig::new(5, 8).init(device), second: LinearConfig::new(8, 4).init(device) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.second.forward(relu(self.first.forward(x)))
    }
}

#[test]
fn gradients_are_slopes() {
    let device = device();
    device.seed(3);
    let network = Network::new(&device);
    let x = Tensor::<2>::random([6, 5], Distribution::Normal(0.0, 1.0), &device);
    let labels = Tensor::<1, Int>::from_ints([0, 1, 2, 3, 1, 0], &device);
    let teacher = Tensor::<2>::random([6, 4], Distribution::Normal(0.0, 1.0), &device);
    type Of<'a> = Box<dyn Fn(Tensor<2>) -> Tensor<1> + 'a>;
    let losses: [(&str, Of<'_>); 3] = [
        ("cross-entropy", Box::new(|x| CrossEntropy::new().label_smoothing(0.1).forward(x, labels.clone()))),
        ("distillation", Box::new(|x| KlFromLogits::new().temperature(2.0).forward(x, teacher.clone()))),
        ("focal", Box::new(|x| SigmoidFocal::new().forward(x, teacher.clone().greater_elem(0.0)))),
    ];
    for (name, loss) in &losses {
        let grads = loss(network.forward(x.clone())).backward();
        let weight = network.second.weight.val();
        let gradient = weight.grad(&grads).expect("a gradient").into_data().try_to_vec::<f32>().expect("f32");
        let values = weight.clone().into_data().try_to_vec::<f32>().expect("f32");
        let at = |k: usize, step: f32| -> f32 {
            let mut moved = values.clone();
            moved[k] += step;
            let mut network = network.clone();
            network.second.weight = network.second.weight.map(|_| {
                Tensor::<2>::from_data(burn::tensor::TensorData::new(moved.clone(), weight.dims()), &device)
                    .require_grad()
            });
            loss(network.forward(x.clone())).into_scalar()
        };
        for k in [0, 7, 13, 31] {
            let slope = (at(k, 1e-2) - at(k, -1e-2)) / 2e-2;
            assert!((slope - gradient[k]).abs() < 2e-4, "{name}: slope {slope}, gradient {}", gradient[k]);
        }
    }
}

#[test]
fn it_learns_as_with_burns_own_loss() {
    let device = device();
    device.seed(5);
    let x = Tensor::<2>::random([64, 5], Distribution::Normal(0.0, 1.0), &device);
    let labels = x.clone().slice([0..64, 0..4]).argmax(1).reshape([64]);
    let network = Network::new(&device);
    let learn = |loss: &dyn Fn(Tensor<2>, Tensor<1, Int>) -> Tensor<1>| {
        let mut network = network.clone();
        let mut optimizer = SgdConfig::new().init();
        let mut curve = Vec::new();
        for _ in 0..30 {
            let loss = loss(network.forward(x.clone()), labels.clone());
            curve.push(loss.clone().into_scalar::<f32>());
            let grads = GradientsParams::from_grads(loss.backward(), &network);
            network = optimizer.step(0.5, network, grads);
        }
        curve
    };
    let ours = learn(&|x, y| CrossEntropy::new().forward(x, y));
    let theirs = learn(&|x, y| burn::nn::loss::CrossEntropyLossConfig::new().init(&x.device()).forward(x, y));
    assert!(ours[29] < 0.6 * ours[0], "{ours:?}");
    for (step, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert!((ours - theirs).abs() < 1e-4, "step {step}: {ours}, {theirs}");
    }
}

/// A loss is not computed again when it is differentiated: its inputs may be.
#[test]
fn checkpoints_change_nothing() {
    let gradient = |device: &Device| {
        let x = Tensor::<2>::from_floats([[1.0, -2.0, 0.5], [0.3, 2.0, -1.0]], device).require_grad();
        let labels = Tensor::<1, Int>::from_ints([0, 2], device);
        let grads = CrossEntropy::new().forward(relu(x.clone().mul_scalar(2.0)), labels).backward();
        x.grad(&grads).expect("a gradient").into_data().try_to_vec::<f32>().expect("f32")
    };
    assert_eq!(gradient(&device()), gradient(&device().gradient_checkpointing()));
}

/// Without autodiff there is a loss and nothing else.
#[test]
fn inference_computes_the_loss_alone() {
    let device = device();
    let network = Network::new(&device).valid();
    let plain = device.inner();
    let x = Tensor::<2>::ones([3, 5], &plain);
    let loss: Box<dyn Loss> = Box::new(CrossEntropy::new());
    let loss = loss.forward(network.forward(x), Tensor::<1, Int>::from_ints([0, 1, 2], &plain));
    assert!(!loss.device().is_autodiff() && loss.into_scalar::<f32>().is_finite());
}
