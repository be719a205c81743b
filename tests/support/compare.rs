//! Comparing tensors: kinds (finite, +inf, -inf, NaN) first, then differences against the scale of the tensor, as the
//! README of the goldens describes it.

use deeploss::internals::OwnedTensors;
use deeploss::{Element, Output, Reduction, RowStats};
use ndarray::{ArrayD, Dimension};

use super::ensure;

/// What separates two float32 results of one formula: this times the scale of the tensor.
pub(crate) const TOLERANCE: f64 = 2e-6;

/// Which of finite, +inf, -inf and NaN a value is in float32.
pub(crate) fn kind(x: f64) -> &'static str {
    match x as f32 {
        x if x.is_nan() => "NaN",
        f32::INFINITY => "+inf",
        f32::NEG_INFINITY => "-inf",
        _ => "finite",
    }
}

/// The largest finite magnitude.
pub(crate) fn largest<'a, F: Into<f64> + Copy + 'a>(values: impl IntoIterator<Item = &'a F>) -> f64 {
    let magnitudes = values.into_iter().map(|&v| v.into().abs());
    magnitudes.filter(|v| v.is_finite()).fold(0.0, f64::max)
}

/// What the differences in each tensor of an output are measured against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scales {
    /// Added to the largest loss.
    pub(crate) loss: f64,
    /// Added to the largest gradient: what one item's gradient is multiplied with, and so where p - 1 cancels.
    pub(crate) grad: f64,
}

impl Scales {
    /// Of a call whose unreduced loss has this number of items.
    pub(crate) fn of(tensors: &OwnedTensors, reduction: Reduction, items: usize) -> Self {
        let upstream = tensors.grad_output.as_ref().map_or(1.0, largest);
        let share = match reduction {
            Reduction::None | Reduction::Sum => upstream,
            Reduction::Mean => upstream / items.max(1) as f64,
            Reduction::BatchMean => upstream / tensors.input.shape()[0].max(1) as f64,
            other => panic!("nothing is known of the reduction {other:?}"),
        };
        Self { loss: 1.0, grad: share }
    }
}

/// All tensors of an output; what one has and the other lacks is a difference too.
pub(crate) fn outputs(got: &Output, expected: &Output<f64>, scales: Scales, tolerance: f64) -> Result<(), String> {
    let parts = [
        ("loss", &got.loss, &expected.loss, scales.loss),
        ("grad_input", &got.grad_input, &expected.grad_input, scales.grad),
        ("grad_input2", &got.grad_input2, &expected.grad_input2, scales.grad),
        ("grad_target", &got.grad_target, &expected.grad_target, scales.grad),
    ];
    let statistics = match (&got.stats, &expected.stats) {
        (Some(got), Some(expected)) => stats(got, expected, tolerance).err(),
        (None, None) => None,
        _ => Some("stats: there or missing where it was not expected so".into()),
    };
    let reasons: Vec<String> = parts
        .into_iter()
        .filter_map(|(name, got, expected, scale)| {
            let outcome = match (got, expected) {
                (Some(got), Some(expected)) => tensor(got, expected, tolerance, scale),
                (None, None) => Ok(()),
                (got, _) => {
                    Err(format!("{} where it was not expected so", if got.is_some() { "there" } else { "missing" }))
                }
            };
            outcome.err().map(|reason| format!("{name}: {reason}"))
        })
        .chain(statistics)
        .collect();
    ensure(reasons.is_empty(), || reasons.join("; "))
}

/// Numbers as in [`tensor`], classes and hits exactly.
pub(crate) fn stats(got: &RowStats, expected: &RowStats<f64>, tolerance: f64) -> Result<(), String> {
    tensor(&got.lse, &expected.lse, tolerance, 1.0).map_err(|reason| format!("lse: {reason}"))?;
    tensor(&got.entropy, &expected.entropy, tolerance, 1.0).map_err(|reason| format!("entropy: {reason}"))?;
    ensure(got.argmax == expected.argmax, || format!("argmax: {}, expected {}", got.argmax, expected.argmax))?;
    ensure(got.hit == expected.hit, || format!("hit: {}, expected {}", got.hit, expected.hit))
}

/// Every element of a tensor, with |got - expected| at most `tolerance * max(scale, largest expected)`.
pub(crate) fn tensor(got: &ArrayD<f32>, expected: &ArrayD<f64>, tolerance: f64, scale: f64) -> Result<(), String> {
    ensure(got.shape() == expected.shape(), || format!("shape {:?}, expected {:?}", got.shape(), expected.shape()))?;
    let allowed = tolerance * largest(expected).max(scale);
    let differs = |got: f32, expected: f64| {
        // Rounded first, so that a perfect result has difference 0 and 6e38 is +inf.
        let rounded = f64::from(expected as f32);
        kind(f64::from(got)) != kind(expected)
            || (rounded.is_finite()
                && (f64::from(got) - rounded).abs().partial_cmp(&allowed) == Some(std::cmp::Ordering::Greater))
    };
    // Plain iteration over millions of values; the place of a difference is looked up only if there is one.
    let count = got.iter().zip(expected).filter(|&(&got, &expected)| differs(got, expected)).count();
    let first = got.indexed_iter().zip(expected).find(|&((_, &got), &expected)| differs(got, expected));
    match first {
        None => Ok(()),
        Some(((place, have), want)) => Err(format!(
            "{count} of {} elements differ, the first at {:?}: {have:e}, expected {want:e} +- {allowed:e}",
            got.len(),
            place.slice(),
        )),
    }
}

/// The same values in f64.
pub(crate) fn wide(output: &Output) -> Output<f64> {
    let wide = |part: &Option<ArrayD<f32>>| part.as_ref().map(|values| values.mapv(f64::from));
    Output {
        loss: wide(&output.loss),
        grad_input: wide(&output.grad_input),
        grad_input2: wide(&output.grad_input2),
        grad_target: wide(&output.grad_target),
        stats: output.stats.as_ref().map(|stats| RowStats {
            lse: stats.lse.mapv(f64::from),
            entropy: stats.entropy.mapv(f64::from),
            argmax: stats.argmax.clone(),
            hit: stats.hit.clone(),
        }),
    }
}

/// The bits of every tensor of an output: equal exactly if the outputs are, NaN and the sign of zero included.
pub(crate) fn bits<F: Into<f64> + Element<Scalar = F>>(output: &Output<F>) -> Vec<Option<Vec<u64>>> {
    // f32 to f64 is one-to-one, NaN's payload included.
    let of = |values: &ArrayD<F>| values.iter().map(|&v| v.into().to_bits()).collect();
    let parts = [&output.loss, &output.grad_input, &output.grad_input2, &output.grad_target];
    let mut all: Vec<Option<Vec<u64>>> = parts.into_iter().map(|part| part.as_ref().map(of)).collect();
    all.extend(output.stats.iter().flat_map(|stats| {
        let classes = stats.argmax.iter().zip(&stats.hit).map(|(&class, &hit)| u64::from(class) << 1 | u64::from(hit));
        [Some(of(&stats.lse)), Some(of(&stats.entropy)), Some(classes.collect())]
    }));
    all
}
