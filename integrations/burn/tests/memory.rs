//! What a loss takes of the device's memory: forward nothing of the logits' size, backward the gradient, or nothing
//! where the logits give way to it.

use burn::tensor::{Device, Distribution, Int, Tensor};
use deeploss_burn::{CrossEntropy, Forward};

/// Bytes in use, when all that was asked for has been done.
fn in_use(device: &Device) -> u64 {
    device.sync().expect("a device");
    device.memory_pool_usage().expect("the runtime tells").bytes_in_use
}

#[test]
fn nothing_of_the_size_of_the_logits_is_held() {
    // Of its own: other tests allocate meanwhile.
    let device = Device::wgpu(burn::tensor::DeviceKind::Cpu).autodiff();
    let (n, c) = (128, 4096);
    let size = (n * c * 4) as u64;
    let labels: Vec<i32> = (0..n).collect();
    let targets = Tensor::<1, Int>::from_ints(labels.as_slice(), &device);
    let step = |keep: bool| {
        let leaf = Tensor::<2>::random([n, c], Distribution::Normal(0.0, 1.0), &device).require_grad();
        let logits = leaf.clone().mul_scalar(2.0);
        let kept = keep.then(|| logits.clone());
        let before = in_use(&device);
        let loss = CrossEntropy::new().forward(logits, targets.clone());
        let forward = in_use(&device) - before;
        let mut grads = loss.backward();
        let gradient = leaf.grad_remove(&mut grads).expect("a gradient");
        let backward = in_use(&device).saturating_sub(before);
        drop(kept);
        assert!(gradient.abs().sum().into_scalar::<f32>() > 0.0);
        (forward, backward)
    };
    step(false);
    let (forward, backward) = step(true);
    assert!(forward < size / 8, "forward takes {forward} bytes");
    assert!((size / 2..size * 2).contains(&backward), "backward takes {backward} bytes, the gradient {size}");
    let (forward, backward) = step(false);
    assert!(forward < size / 8, "forward takes {forward} bytes");
    // The product's gradient is computed in place too.
    assert!(backward < size / 8, "backward takes {backward} bytes although the logits give way");
}
