//! Small calls and their numbers, for tests that know what must come out.

use deeploss::{Context, CrossEntropy, Dtype, Evaluate, Loss, Output, Reduction, Target, Tensors};
use half::{bf16, f16};
use ndarray::{Array1, Array2, ArrayView, Dimension};

use super::compare::largest;
use super::ensure;

/// Loss and gradient of a valid call.
pub(crate) fn run<'a, D: Dimension>(
    loss: &dyn Loss,
    ctx: &Context,
    logits: ArrayView<'a, f32, D>,
    target: impl Into<Target<'a>>,
) -> Output {
    loss.evaluate(ctx, &Tensors::new(logits, target)).unwrap_or_else(|error| panic!("{loss:?}: {error}"))
}

/// The unreduced loss with PyTorch's defaults.
pub(crate) fn unreduced() -> CrossEntropy {
    CrossEntropy::new().reduction(Reduction::None)
}

pub(crate) fn losses(output: &Output) -> Vec<f32> {
    output.loss.iter().flatten().copied().collect()
}

pub(crate) fn grads(output: &Output) -> Vec<f32> {
    output.grad_input.iter().flatten().copied().collect()
}

pub(crate) fn wide(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

/// Equal as numbers (0 is -0), NaN equal to NaN.
pub(crate) fn same(got: &[f32], expected: &[f32]) -> Result<(), String> {
    let equal = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
    let all = got.len() == expected.len() && got.iter().zip(expected).all(equal);
    ensure(all, || format!("{got:?}, expected {expected:?}"))
}

/// Relative error of every element.
pub(crate) fn close(got: &[f32], expected: &[f64], allowed: f64) -> Result<(), String> {
    let near = |(&a, &b): (&f32, &f64)| (f64::from(a) - b).abs() <= allowed * b.abs();
    let all = got.len() == expected.len() && got.iter().zip(expected).all(near);
    ensure(all, || format!("{got:?}, expected {expected:?}"))
}

/// Differences relative to the largest element: where numbers near 1 cancel.
pub(crate) fn near(got: &[f32], expected: &[f64], allowed: f64) -> Result<(), String> {
    let allowed = allowed * largest(expected);
    let all =
        got.len() == expected.len() && got.iter().zip(expected).all(|(&a, b)| (f64::from(a) - b).abs() <= allowed);
    ensure(all, || format!("{got:?}, expected {expected:?} +- {allowed:e}"))
}

/// Ordinary logits, no two rows alike.
pub(crate) fn logits(rows: usize, classes: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, classes), |(n, c)| ((n * 31 + c * 17) % 23) as f32 * 0.5 - 5.5)
}

pub(crate) fn labels(rows: usize, classes: usize) -> Array1<i64> {
    Array1::from_shape_fn(rows, |n| (n * 5 % classes) as i64)
}

/// The nearest value that is stored exactly.
pub(crate) fn round(value: f32, dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F32 => value,
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::Bf16 => bf16::from_f32(value).to_f32(),
        other => panic!("nothing is known of the type {other:?}"),
    }
}
