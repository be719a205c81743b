//! The tests' own cases, judge and tolerances.

#[path = "../../../tests/support/compare.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
pub(crate) mod compare;
#[path = "../../../tests/support/conformance.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
pub(crate) mod conformance;

/// What does not hold, with a reason.
pub(crate) fn ensure<R: Into<String>>(holds: bool, otherwise: impl FnOnce() -> R) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}
