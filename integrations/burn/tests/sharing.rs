//! Devices that are shared: with deeploss' own API, with another device beside it, among threads.

use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind, Distribution, Int, Tensor};
use deeploss::{Context, Evaluate};
use deeploss_burn::{CrossEntropy, Forward};
use ndarray::Array2;

fn loss_and_gradient(device: &Device, logits: &Array2<f32>) -> (f32, Vec<f32>) {
    let (n, c) = logits.dim();
    let flat: Vec<f32> = logits.iter().copied().collect();
    let x = Tensor::<1>::from_floats(flat.as_slice(), device).reshape([n, c]).detach().require_grad();
    let labels: Vec<i32> = (0..n).map(|row| (row % c) as i32).collect();
    let loss = CrossEntropy::new().forward(x.clone(), Tensor::<1, Int>::from_ints(labels.as_slice(), device));
    let gradient = x.grad(&loss.backward()).expect("a gradient").into_data().try_to_vec().expect("f32");
    (loss.into_scalar(), gradient)
}

fn logits(n: usize, c: usize, seed: usize) -> Array2<f32> {
    Array2::from_shape_fn((n, c), |(row, class)| ((row * 31 + class * 17 + seed * 7) % 23) as f32 * 0.3 - 3.0)
}

#[test]
fn one_device_serves_both_apis() {
    let options = Device::wgpu_options().device_kind(DeviceKind::Cpu).graphics_api(WgpuBackend::Vulkan);
    let (device, setup) = options.init_with_setup().expect("a software Vulkan adapter");
    let device = device.autodiff();
    let ctx = Context::from_wgpu(&setup.adapter, setup.device, setup.queue).prove().expect("a context");
    let x = logits(33, 70, 1);
    let labels = ndarray::Array1::from_shape_fn(33, |row| (row % 70) as i64);
    for _ in 0..3 {
        let (loss, gradient) = loss_and_gradient(&device, &x);
        let out = CrossEntropy::new().evaluate(&ctx, &deeploss::Tensors::new(x.view(), labels.view())).expect("valid");
        assert_eq!(out.scalar(), Some(loss), "the same kernels on the same device");
        assert_eq!(out.grad_input.expect("wanted").into_iter().collect::<Vec<_>>(), gradient);
    }
}

#[test]
fn two_devices() {
    let devices = [Device::default().autodiff(), Device::wgpu(DeviceKind::Cpu).autodiff()];
    assert_ne!(devices[0], devices[1]);
    let x = logits(20, 30, 2);
    let [one, other] = devices.map(|device| loss_and_gradient(&device, &x));
    assert_eq!(one, other);
}

#[test]
fn many_threads() {
    let device = Device::default().autodiff();
    let expected: Vec<_> =
        (0..4).map(|seed| loss_and_gradient(&device, &logits(40 + seed, 25 + 9 * seed, seed))).collect();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (device, expected) = (&device, &expected);
            scope.spawn(move || {
                for turn in 0..12 {
                    let seed = (thread + turn) % 4;
                    let got = loss_and_gradient(device, &logits(40 + seed, 25 + 9 * seed, seed));
                    assert_eq!(got, expected[seed], "thread {thread}, turn {turn}");
                }
            });
        }
    });
    // Tensors made by one thread, used by another.
    let x = Tensor::<2>::random([50, 60], Distribution::Normal(0.0, 1.0), &device);
    let y = Tensor::<1, Int>::zeros([50], &device);
    let here: f32 = CrossEntropy::new().forward(x.clone(), y.clone()).into_scalar();
    let there =
        std::thread::spawn(move || CrossEntropy::new().forward(x, y).into_scalar::<f32>()).join().expect("no panic");
    assert_eq!(here, there);
}
