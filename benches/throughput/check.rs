//! Whether a result is right: nothing is timed before.

/// Differences within what `tolerance` makes of the largest finite magnitude; NaN and infinities in the same places.
pub(crate) fn same_values(got: &[f32], expected: &[f32], tolerance: impl Fn(f32) -> f32) -> Result<(), String> {
    if got.len() != expected.len() {
        return Err(format!("{} values instead of {}", got.len(), expected.len()));
    }
    let largest = expected.iter().filter(|v| v.is_finite()).fold(0.0_f32, |m, v| m.max(v.abs()));
    let allowed = tolerance(largest);
    let same = |g: f32, e: f32| g == e || (g.is_nan() && e.is_nan()) || (g - e).abs() <= allowed;
    match got.iter().zip(expected).position(|(&g, &e)| !same(g, e)) {
        None => Ok(()),
        Some(at) => Err(format!(
            "wrong at element {at}: got {}, the reference says {} (largest magnitude {largest})",
            got[at], expected[at]
        )),
    }
}
