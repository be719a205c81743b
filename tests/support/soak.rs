//! Random questions: the same ones on every machine in the test suite, ever new ones in a soak.

use std::env;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// One seed in the test suite; in a soak, so many seconds of them.
pub(crate) fn seeds() -> impl Iterator<Item = u64> {
    let seconds = env::var("DEEPLOSS_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let (start, length) = (Instant::now(), Duration::from_secs_f64(seconds.unwrap_or(0.0)));
    (1..).take_while(move |&seed| seed == 1 || start.elapsed() < length)
}

/// Asks so many questions that follow from the seed; one that fails is made as simple as it can be, and shown.
pub(crate) fn check<S: Strategy>(
    seed: u64,
    questions: u32,
    strategy: &S,
    answer: impl Fn(&S::Value) -> Result<(), String>,
) where
    S::Value: Debug,
{
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: questions, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(strategy, |question| answer(&question).map_err(TestCaseError::fail));
    outcome.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
}
