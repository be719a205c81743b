//! Proves that the kernels compute what the CPU reference computes: for every loss, variant, reduction, output and upstream
//! gradient, at every size where a kernel does something else than at its neighbours. The judge is the reference in f64; its
//! twin in f32 is held against the kernels too.

mod support;

use deeploss::{Context, Loss, OwnedTensors, Reduction, Want, reference};
use support::compare::{TOLERANCE, answers, wide};
use support::{Table, cases, gpu, reason, table};

/// One call on the GPU against the same call in f64 and in f32 on the CPU.
fn check(rows: &mut Table, name: &str, loss: &dyn Loss, tensors: &OwnedTensors, want: Want) {
    let compared = || {
        let scales = cases::scales(loss, tensors);
        let oracle = reference::evaluate(loss, &tensors.to_f64().view(), want).map_err(reason)?;
        let twin = loss.evaluate_with(&Context::cpu(), &tensors.view(), want).map_err(reason)?;
        let gpu = loss.evaluate_with(gpu(), &tensors.view(), want).map_err(reason)?;
        answers(&gpu, &oracle, scales, TOLERANCE).map_err(|e| format!("GPU against f64: {e}"))?;
        answers(&twin, &oracle, scales, TOLERANCE).map_err(|e| format!("f32 against f64: {e}"))?;
        answers(&gpu, &wide(&twin), scales, TOLERANCE).map_err(|e| format!("GPU against f32: {e}"))
    };
    let row = format!("{name} {:?} {:?} {want:?}", cases::reduction(loss, tensors), tensors.input.shape());
    rows.row(row, compared());
}

/// Every variant on one shape, with the given reductions, all outputs and an upstream gradient.
fn check_shape(rows: &mut Table, shape: &[usize], reductions: &[Reduction]) {
    for (name, loss) in cases::variants_of(shape) {
        let seed = shape.iter().fold(1, |seed, &n| 31 * seed + n as u64);
        let Some(tensors) = cases::sample(&*loss, shape, seed) else { continue };
        for (_, loss) in cases::reductions(&*loss, &tensors).iter().filter(|(r, _)| reductions.contains(r)) {
            let tensors = cases::with_upstream(&**loss, &tensors);
            check(rows, &name, &**loss, &tensors, cases::everything(&**loss, &tensors));
        }
    }
}

/// (7, 5): a thread per row, logits one by one. (3, 516): a group per row where the adapter has one for it, logits by fours.
/// The losses' plainest and fullest variants with everything combined, the others with three combinations that hold every value.
#[test]
fn every_combination_of_options() {
    table(|rows| {
        for shape in [[7, 5], [3, 516]] {
            for (name, loss) in cases::variants(shape[1]) {
                let tensors = cases::sample(&*loss, &shape, 7).expect("every loss takes (N, C)");
                let crossed = shape == [7, 5] && cases::is_first_or_last(&*loss, shape[1]);
                for (reduction, loss) in cases::reductions(&*loss, &tensors) {
                    let upstream = cases::with_upstream(&*loss, &tensors);
                    let everything = cases::everything(&*loss, &tensors);
                    for want in cases::wants(&*loss, &tensors) {
                        let in_sample = match reduction {
                            Reduction::None => want == everything,
                            Reduction::Mean | Reduction::BatchMean => want == Want::GRAD,
                            Reduction::Sum => want == Want::LOSS,
                        };
                        if crossed || (in_sample && reduction != Reduction::None) {
                            check(rows, &name, &*loss, &tensors, want);
                        }
                        if crossed || (in_sample && reduction == Reduction::None) {
                            check(rows, &format!("{name} with grad_output"), &*loss, &upstream, want);
                        }
                    }
                }
            }
        }
    });
}

/// Around every number of classes that one lane (4, 16), one group (32, 64, 128, 256) or one strategy (32, 512, 1024) takes at
/// once, and some that divide by nothing.
#[test]
fn every_number_of_classes() {
    const CLASSES: [usize; 24] =
        [1, 2, 3, 4, 5, 10, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1000, 1003, 1025];
    table(|rows| CLASSES.iter().for_each(|&classes| check_shape(rows, &[3, classes], &[Reduction::None])));
}

/// Around a workgroup of 64 threads, below and above the threshold of the thread strategy.
#[test]
fn every_number_of_rows() {
    table(|rows| {
        for shape in [[1, 5], [63, 5], [64, 5], [65, 5], [1, 40], [65, 40], [3, 700]] {
            check_shape(rows, &shape, &[Reduction::None]);
        }
    });
}

/// More rows than a dispatch has workgroups along one dimension, and than one workgroup of a reduction sums.
#[test]
fn more_than_65535_rows() {
    table(|rows| {
        for (name, loss) in cases::fullest(3) {
            for reduction in [Reduction::None, Reduction::Mean] {
                let loss = loss.with_reduction(reduction);
                let tensors = cases::with_upstream(&*loss, &loss.sample(&[66_001, 3], 3));
                check(rows, &name, &*loss, &tensors, cases::everything(&*loss, &tensors));
            }
        }
    });
}

/// Class axes that are not last, with short and long distances between classes, and no batch axis at all.
#[test]
fn every_number_of_dimensions() {
    table(|rows| {
        for shape in
            [&[9][..], &[40], &[3, 5, 7], &[2, 130, 3, 2], &[2, 4, 1, 1], &[1, 33, 65], &[2, 3, 2, 2, 2], &[3, 2, 5, 4]]
        {
            check_shape(rows, shape, &[Reduction::None]);
        }
    });
}

/// NaN and infinities in some of the rows: the same kinds in the same places. A loss that is not defined for them says so alike.
#[test]
fn nan_and_infinities_go_where_they_go_in_the_reference() {
    const VALUES: [f32; 4] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
    table(|rows| {
        for shape in [[23, 6], [5, 601]] {
            for (name, loss) in cases::variants(shape[1]) {
                let mut tensors = cases::sample(&*loss, &shape, 3).expect("every loss takes (N, C)");
                // One row in two has one of them; 7 is prime to every row length here.
                for (at, x) in tensors.input.iter_mut().enumerate().filter(|(at, _)| at % (2 * shape[1]) < shape[1]) {
                    if at % 7 == 0 {
                        *x = VALUES[at / 7 % 4];
                    }
                }
                for reduction in [Reduction::None, Reduction::Mean] {
                    let loss = loss.with_reduction(reduction);
                    let tensors = cases::with_upstream(&*loss, &tensors);
                    let want = cases::everything(&*loss, &tensors);
                    match loss.evaluate_with(&Context::cpu(), &tensors.view(), want) {
                        Ok(_) => check(rows, &name, &*loss, &tensors, want),
                        Err(refused) => {
                            let got = loss.evaluate_with(gpu(), &tensors.view(), want);
                            let differs = format!("{got:?} instead of {refused:?}");
                            rows.row(&name, if got == Err(refused) { Ok(()) } else { Err(differs) });
                        }
                    }
                }
            }
        }
    });
}

/// An empty batch has an empty loss and gradient; its mean is what the loss says of it, its sum 0.
#[test]
fn empty_batches() {
    table(|rows| {
        for shape in [&[0, 5][..], &[0, 64], &[0, 3, 2], &[2, 3, 0]] {
            check_shape(rows, shape, &[Reduction::None, Reduction::Mean, Reduction::Sum]);
        }
    });
}
