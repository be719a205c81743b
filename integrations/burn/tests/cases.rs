//! Golden cases, and every combination of options against the CPU reference in f64.

use burn::tensor::DType;
use deeploss::{Evaluate, LOSSES, Reduction, Want};
use ndarray::ArrayD;

use crate::conformance::{Report, load};
use crate::support::{device, run};

/// Every golden case if the environment has DEEPLOSS_EVERY_CASE, which takes a quarter of an hour: a software driver
/// compiles kernels for most of them. Else each eighth, of each loss.
#[test]
fn golden_cases_are_reproduced() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens");
    let mut cases = load(&folder).expect("readable golden cases");
    assert!(cases.len() > 1000);
    if std::env::var_os("DEEPLOSS_EVERY_CASE").is_none() {
        cases = cases.into_iter().step_by(8).collect();
    }
    let device = device();
    let mut report = Report::default();
    for case in &cases {
        let loss = case.loss().expect("every op is there");
        let outcome = loss.and_then(|loss| run(&device, &*loss, &case.inputs(), case.want(), DType::F32));
        report.judge(case, outcome);
    }
    println!("{}", report.table());
    assert!(report.passed(), "{} fail: {:#?}", report.failures.len(), &report.failures);
}

/// The largest difference from the reference, relative to the largest value.
fn difference(got: &ArrayD<f32>, expected: &ArrayD<f64>, scale: f64) -> f64 {
    assert_eq!(got.shape(), expected.shape());
    let scale = expected.iter().fold(scale, |most, value| most.max(value.abs()));
    got.iter().zip(expected).map(|(&got, &expected)| (f64::from(got) - expected).abs() / scale).fold(0.0, f64::max)
}

/// Rows that are no multiple of anything, and one shape of each kind that kernels tell apart. Each variant of a loss
/// has one of them and one reduction: all combinations are tested where the kernels are at home.
const SHAPES: [&[usize]; 5] = [&[13, 10], &[3, 129], &[2, 6, 5], &[5, 1000], &[7]];

#[test]
fn every_combination_of_options_is_the_references() {
    let device = device();
    let mut worst = 0.0_f64;
    let mut calls = 0;
    for info in LOSSES {
        for (place, shape) in SHAPES.into_iter().enumerate() {
            let classes = *shape.get(1).unwrap_or(&shape[0]);
            let variants = (info.variants)(classes);
            for (number, loss) in variants.iter().enumerate().filter(|(number, _)| number % SHAPES.len() == place) {
                for reduction in [[Reduction::None, Reduction::Mean, Reduction::Sum][number % 3]] {
                    let loss = loss.with_reduction(reduction);
                    let mut inputs = loss.example_inputs(shape, number as u64);
                    let call = |inputs: &deeploss::internals::OwnedTensors, want| {
                        loss.reference(&inputs.to_f64().view().wants(want))
                    };
                    // A loss says itself which gradients it has.
                    let want = [Want::GRAD_INPUT2, Want::GRAD_TARGET].into_iter().fold(
                        Want::LOSS | Want::GRAD,
                        |all, more| {
                            let has = call(&inputs, all | more).is_ok_and(|output| match more {
                                Want::GRAD_INPUT2 => output.grad_input2.is_some(),
                                _ => output.grad_target.is_some(),
                            });
                            if has { all | more } else { all }
                        },
                    );
                    let Ok(output) = call(&inputs, want) else {
                        // What is refused there is refused here.
                        let outcome = run(&device, &*loss, &inputs, want, DType::F32);
                        assert!(outcome.is_err(), "{loss:?} {shape:?} is refused by the reference alone");
                        continue;
                    };
                    let upstream = output.loss.as_ref().expect("wanted").mapv(|_| 0.0_f32);
                    let mut k = 0;
                    inputs.grad_output = Some(upstream.mapv(|_| {
                        k += 1;
                        0.5 + (k % 5) as f32 * 0.25
                    }));
                    let expected = call(&inputs, want).expect("as before");
                    let got = run(&device, &*loss, &inputs, want, DType::F32)
                        .unwrap_or_else(|error| panic!("{loss:?} {shape:?}: {error}"));
                    let parts = [
                        (got.loss, expected.loss, 1.0),
                        (got.grad_input, expected.grad_input, 1e-2),
                        (got.grad_input2, expected.grad_input2, 1e-2),
                        (got.grad_target, expected.grad_target, 1e-2),
                    ];
                    for (part, (got, expected, scale)) in parts.into_iter().enumerate() {
                        assert_eq!(got.is_some(), expected.is_some(), "{loss:?} {shape:?} part {part}");
                        if let (Some(got), Some(expected)) = (got, expected) {
                            let difference = difference(&got, &expected, scale);
                            assert!(difference < 4e-6, "{loss:?} {shape:?} part {part} differs by {difference:e}");
                            worst = worst.max(difference);
                        }
                    }
                    calls += 1;
                }
            }
        }
    }
    println!("{calls} calls, the worst differs by {worst:e}");
    assert!(calls > 40, "only {calls} calls");
}
