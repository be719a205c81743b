//! Empty batches, ignored rows, labels that are none, tensors that do not fit: an error or a number, never a panic.

use burn::tensor::{Bool, DType, Device, Distribution, FloatDType, Int, IntDType, Tensor, TensorData, bf16};
use deeploss_burn::{
    Bce, CrossEntropy, Error, Forward, KlFromLogits, MarginRanking, MultiLabelMargin, Reduction, Tensors, check, read,
};

use crate::support::{alone, device};

fn logits(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Normal(0.0, 2.0), device)
}

fn scalar(loss: Tensor<1>) -> f32 {
    loss.into_scalar()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_to_vec().expect("f32")
}

#[test]
fn an_empty_batch() {
    let device = device();
    let x = Tensor::<2>::zeros([0, 5], &device).require_grad();
    let y = Tensor::<1, Int>::from_data(TensorData::new(Vec::<i32>::new(), [0]), &device);
    let mean = CrossEntropy::new().try_forward(x.clone(), y.clone()).expect("valid");
    assert!(scalar(mean.clone()).is_nan(), "as in PyTorch");
    assert_eq!(x.grad(&mean.backward()).expect("a gradient").dims(), [0, 5]);
    assert_eq!(scalar(CrossEntropy::new().reduction(Reduction::Sum).forward(x.clone(), y.clone())), 0.0);
    let none: Tensor<1> = CrossEntropy::new().forward_no_reduction(x, y);
    assert_eq!(none.dims(), [0]);
    check(&device).expect("nothing is wrong");
}

#[test]
fn ignored_rows() {
    let device = device();
    let x = logits([4, 3], &device).require_grad();
    let y = Tensor::<1, Int>::from_ints([-100, -100, -100, -100], &device);
    let loss = CrossEntropy::new().forward(x.clone(), y.clone());
    assert!(scalar(loss.clone()).is_nan());
    let loss = CrossEntropy::new().on_empty(0.0).forward(x.clone(), y);
    assert_eq!(scalar(loss.clone()), 0.0);
    assert_eq!(values(x.grad(&loss.backward()).expect("a gradient")), [0.0; 12]);
    let y = Tensor::<1, Int>::from_ints([0, -100, 2, 1], &device);
    let mask = Tensor::<1, Bool>::from_data([false, true, false, false], &device);
    let masked: Tensor<1> = CrossEntropy::new().call(Tensors::new(x.clone(), y.clone()).ignore_mask(mask));
    let ignored = CrossEntropy::new().forward(x, y);
    assert_eq!(scalar(masked), scalar(ignored));
    check(&device).expect("nothing is wrong");
}

#[test]
fn labels_that_are_no_classes_are_told_of_at_the_next_read() {
    let device = alone();
    let x = logits([5, 3], &device).require_grad();
    for (labels, dtype) in [(vec![0_i64, 3, 1, -7, 2], DType::I32), (vec![0, 1 << 32, 1, -7, 2], DType::I64)] {
        let y = Tensor::<1, Int>::from_data(TensorData::from(labels.as_slice()), (&device, dtype));
        let losses: Tensor<1> = CrossEntropy::new().forward_no_reduction(x.clone(), y.clone());
        let gradient = x.grad(&losses.clone().sum().backward()).expect("a gradient");
        let is_nan: Vec<bool> = values(losses.clone().inner()).iter().map(|loss| loss.is_nan()).collect();
        assert_eq!(is_nan, [false, true, false, true, false], "{dtype:?}");
        assert_eq!(&values(gradient)[3..6], [0.0; 3]);
        let error = read(losses).expect_err("two labels are none");
        let Error::Invalid { argument: "target", count: 2, first: 1, .. } = error else { panic!("{error}") };
        check(&device).expect("it was told once");
    }
    // Asked without a read: what Burn's fusion has put off is launched for it.
    let wrong = Tensor::<1, Int>::from_ints([3, 0, 0, 0, 0], &device);
    let _loss = CrossEntropy::new().forward(x.clone().mul_scalar(2.0), wrong);
    assert!(matches!(check(&device), Err(Error::Invalid { count: 1, first: 0, .. })));
    // Many calls and nobody asks: nothing is lost, and nothing grows.
    let wrong = Tensor::<1, Int>::from_ints([0, 1, 9, 0, 0], &device);
    let right = Tensor::<1, Int>::from_ints([0, 1, 2, 0, 0], &device);
    CrossEntropy::new().forward(x.clone(), wrong);
    for _ in 0..600 {
        CrossEntropy::new().forward(x.clone(), right.clone());
    }
    assert!(matches!(check(&device), Err(Error::Invalid { count: 1, first: 2, .. })));
}

#[test]
fn what_does_not_fit_is_an_error_and_nan() {
    let device = alone();
    let x = || logits([4, 3], &device).require_grad();
    let y = || Tensor::<1, Int>::from_ints([0, 1, 2, 0], &device);
    let short = || Tensor::<1, Int>::from_ints([0, 1, 2], &device);
    let shape = |outcome: Result<Tensor<1>, Error>, argument: &str| match outcome {
        Err(Error::Shape { argument: found, .. }) => assert_eq!(found, argument),
        other => panic!("{other:?}"),
    };
    shape(CrossEntropy::new().try_forward(x(), short()), "target");
    shape(
        CrossEntropy::new().reduction(Reduction::None).try_forward(x().reshape([1, 3, 4]), y().reshape([1, 4])),
        "loss",
    );
    shape(
        CrossEntropy::new().try_call(Tensors::new(x(), y()).sample_weight(Tensor::<1>::ones([3], &device))),
        "sample_weight",
    );
    shape(
        CrossEntropy::new()
            .weight_from_buffer()
            .try_call(Tensors::new(x(), y()).weight(Tensor::<1>::ones([4], &device))),
        "weight",
    );
    let missing: Result<Tensor<1>, _> = CrossEntropy::new().weight_from_buffer().try_forward(x(), y());
    assert!(matches!(missing, Err(Error::Missing { argument: "weight", .. })));
    let unasked: Result<Tensor<1>, _> =
        CrossEntropy::new().try_call(Tensors::new(x(), y()).weight(Tensor::<1>::ones([3], &device)));
    assert!(matches!(unasked, Err(Error::Value { argument: "weight", .. })));
    let learned = Tensor::<1>::ones([4], &device).require_grad();
    let learned: Result<Tensor<1>, _> = CrossEntropy::new().try_call(Tensors::new(x(), y()).sample_weight(learned));
    assert!(matches!(learned, Err(Error::Unsupported { .. })), "weights have no gradient");
    let one: Result<Tensor<1>, _> = MarginRanking::new().try_forward(x(), x());
    assert!(matches!(one, Err(Error::Missing { argument: "input2", .. })));
    assert!(CrossEntropy::new().label_smoothing(2.0).try_forward(x(), y()).is_err());
    assert!(Bce::new().try_forward(x(), y()).is_err(), "shapes that do not broadcast");

    let input = x();
    let loss = CrossEntropy::new().forward(input.clone(), short());
    assert!(scalar(loss.clone()).is_nan());
    assert!(values(input.grad(&loss.backward()).expect("a gradient")).iter().all(|gradient| gradient.is_nan()));
    assert!(matches!(check(&device), Err(Error::Shape { argument: "target", .. })));
    let losses: Tensor<2> = CrossEntropy::new().call(Tensors::new(x(), short()));
    assert_eq!(losses.dims(), [1, 1], "a loss that could not be computed has one element");
    assert!(read(losses).is_err());
    check(&device).expect("it was told");

    let elsewhere = alone();
    let far = Tensor::<1, Int>::from_ints([0, 1, 2, 0], &elsewhere);
    assert!(matches!(CrossEntropy::new().try_forward(x(), far), Err(Error::Value { argument: "target", .. })));
    // Probabilities outside 0..1 are found by the kernel.
    let outside = Tensor::<1>::from_floats([0.5, 1.5], &device);
    let error = read(Bce::new().forward(outside, Tensor::<1, Int>::from_ints([0, 1], &device)));
    assert!(matches!(error, Err(Error::Invalid { argument: "input", count: 1, first: 1, .. })), "{error:?}");
}

#[test]
fn targets_of_any_kind_and_inputs_of_any_layout() {
    let device = device();
    let x = logits([6, 4], &device);
    let y = Tensor::<1, Int>::from_ints([0, 1, 2, 3, 0, 1], &device);
    let expected = scalar(CrossEntropy::new().forward(x.clone(), y.clone()));
    for dtype in [IntDType::I64, IntDType::U32] {
        assert_eq!(scalar(CrossEntropy::new().forward(x.clone(), y.clone().cast(dtype))), expected, "{dtype:?}");
    }
    // The class axis first in memory: read as it lies.
    let transposed = x.clone().transpose().mul_scalar(1.0).transpose();
    assert_eq!(scalar(CrossEntropy::new().forward(transposed, y.clone())), expected);
    // A part of a larger tensor.
    let wide = Tensor::cat(vec![x.clone(), x.clone()], 1);
    assert_eq!(scalar(CrossEntropy::new().forward(wide.slice([0..6, 4..8]), y.clone())), expected);
    let tall = Tensor::cat(vec![x.clone(), x.clone()], 0);
    assert_eq!(scalar(CrossEntropy::new().forward(tall.slice([6..12, 0..4]), y.clone())), expected);
    // Probabilities in place of indices, and their gradient.
    let soft = y.clone().one_hot::<2>(4).float().require_grad();
    let input = x.clone().require_grad();
    let loss = CrossEntropy::new().forward(input.clone(), soft.clone());
    let grads = loss.backward();
    assert_eq!(input.grad(&grads).expect("of the input").dims(), [6, 4]);
    let of_target = values(soft.grad(&grads).expect("of the target"));
    let logarithms = values(burn::tensor::activation::log_softmax(x.clone(), 1).div_scalar(-6.0).inner());
    assert!(of_target.iter().zip(&logarithms).all(|(a, b)| (a - b).abs() < 1e-6));
    // Booleans and integers as values.
    let bits = x.clone().greater_elem(0.0);
    let p = burn::tensor::activation::sigmoid(x.clone());
    let loss = |target| scalar(Bce::new().forward(p.clone(), target));
    assert_eq!(scalar(Bce::new().forward(p.clone(), bits.clone())), loss(bits.clone().float()));
    assert_eq!(scalar(Bce::new().forward(p.clone(), bits.clone().int())), loss(bits.float()));
    // Labels that know nothing of gradients.
    let plain = Tensor::<1, Int>::from_ints([0, 1, 2, 3, 0, 1], &device.clone().inner());
    assert_eq!(scalar(CrossEntropy::new().forward(x.clone().require_grad(), plain)), expected);
    // Lists of labels, and a teacher.
    let lists = Tensor::<2, Int>::from_ints([[0, 1, -1, 0]; 6], &device);
    assert!(scalar(MultiLabelMargin::new().forward(x.clone(), lists)).is_finite());
    assert!(scalar(KlFromLogits::new().temperature(2.0).forward(x.clone(), x.clone())).abs() < 1e-6);
    check(&device).expect("nothing is wrong");
}

#[test]
fn sixteen_bits() {
    let device = device();
    let x = logits([7, 33], &device);
    let y = Tensor::<1, Int>::from_ints([0, 1, 2, 3, 32, 1, 5], &device);
    let half = x.clone().cast(FloatDType::F16).require_grad();
    let loss = CrossEntropy::new().forward(half.clone(), y.clone());
    assert_eq!(loss.dtype(), DType::F32);
    let gradient = half.grad(&loss.backward()).expect("a gradient");
    assert_eq!(gradient.dtype(), DType::F16);
    let exact = half.inner().cast(FloatDType::F32);
    let full = Tensor::<2>::from_data(exact.into_data(), &device).require_grad();
    let expected = CrossEntropy::new().forward(full.clone(), y.clone());
    assert_eq!(scalar(loss), scalar(expected.clone()));
    let expected = values(full.grad(&expected.backward()).expect("a gradient"));
    assert!(values(gradient).iter().zip(&expected).all(|(a, b)| (a - b).abs() <= b.abs() / 1024.0 + 1e-7));
    // bf16: the runtime has no arithmetic for it in WGSL, and stores it.
    let words: Vec<bf16> = values(x.inner()).into_iter().map(bf16::from_f32).collect();
    let rounded: Vec<f32> = words.iter().map(|word| word.to_f32()).collect();
    let stored = Tensor::<2>::from_data(TensorData::new(words, [7, 33]), (&device, DType::BF16)).require_grad();
    let loss = CrossEntropy::new().forward(stored.clone(), y.clone());
    let gradient = stored.grad(&loss.clone().backward()).expect("a gradient");
    assert_eq!(gradient.dtype(), DType::BF16);
    let full = Tensor::<2>::from_data(TensorData::new(rounded, [7, 33]), &device).require_grad();
    let expected = CrossEntropy::new().forward(full.clone(), y);
    assert_eq!(scalar(loss), scalar(expected.clone()));
    let expected = values(full.grad(&expected.backward()).expect("a gradient"));
    assert!(values(gradient).iter().zip(&expected).all(|(a, b)| (a - b).abs() <= b.abs() / 128.0 + 1e-7));
    check(&device).expect("nothing is wrong");
}
