//! Proves that the kernels compute what the CPU reference computes: for every loss, variant, reduction, output and
//! upstream gradient, at every size where a kernel does something else than at its neighbours. The judge is the
//! reference in f64; the one in f32 is held against the kernels too.

use deeploss::internals::OwnedTensors;
use deeploss::{Context, Evaluate, Loss, Reduction, Want};

use crate::support::cases::Named;
use crate::support::compare::{TOLERANCE, outputs, wide};
use crate::support::{Table, cases, ensure, gpu, reason, table};

/// One call on the GPU against the same call in f64 and in f32 on the CPU.
fn check(rows: &mut Table, name: &str, loss: &dyn Loss, tensors: &OwnedTensors, want: Want) {
    let compared = || {
        let scales = cases::scales(loss, tensors);
        let oracle = loss.reference(&tensors.to_f64().view().wants(want)).map_err(reason)?;
        let cpu = loss.evaluate(&Context::cpu(), &tensors.view().wants(want)).map_err(reason)?;
        let gpu = loss.evaluate(&gpu(), &tensors.view().wants(want)).map_err(reason)?;
        outputs(&gpu, &oracle, scales, TOLERANCE).map_err(|e| format!("GPU against f64: {e}"))?;
        outputs(&cpu, &oracle, scales, TOLERANCE).map_err(|e| format!("f32 against f64: {e}"))?;
        outputs(&gpu, &wide(&cpu), scales, TOLERANCE).map_err(|e| format!("GPU against f32: {e}"))
    };
    let row = format!("{name} {:?} {:?} {want:?}", cases::reduction(loss, tensors), tensors.input.shape());
    rows.row(row, compared());
}

/// Losses on one shape, unreduced, with all outputs and an upstream gradient.
fn check_shape(rows: &mut Table, losses: impl IntoIterator<Item = Named>, shape: &[usize]) {
    for (name, loss) in losses {
        let loss = loss.with_reduction(Reduction::None);
        let seed = shape.iter().fold(1, |seed, &n| 31 * seed + n as u64);
        let Some(tensors) = cases::example_inputs(&*loss, shape, seed) else { continue };
        let tensors = cases::with_upstream(&*loss, &tensors);
        check(rows, &name, &*loss, &tensors, cases::everything(&*loss, &tensors));
    }
}

/// A thread per row, logits one by one, with everything combined for the plainest and the fullest variant of each loss.
/// The others there, and all with a group per row and logits by fours, with three combinations that hold every value;
/// the fullest with a tile of rows. (A software driver takes seconds to compile a tile, so there are few.)
#[test]
fn every_combination_of_options() {
    const CROSSED: [usize; 2] = [7, 33];
    table(|rows| {
        for shape in [CROSSED, [3, 516], [7, 5]] {
            let losses = if shape == [7, 5] { cases::fullest(5) } else { cases::variants(shape[1]) };
            for (name, loss) in losses {
                let tensors = cases::example_inputs(&*loss, &shape, 7).expect("every loss takes (N, C)");
                let crossed = shape == CROSSED && cases::is_first_or_last(&*loss, shape[1]);
                for (reduction, loss) in cases::reductions(&*loss, &tensors) {
                    let upstream = cases::with_upstream(&*loss, &tensors);
                    let everything = cases::everything(&*loss, &tensors);
                    for want in cases::wants(&*loss, &tensors) {
                        let in_sample = match reduction {
                            Reduction::None => want == everything,
                            Reduction::Sum => want == Want::LOSS,
                            _ => want == Want::GRAD,
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

/// Around every number of classes that one lane (4, 16), one group (32, 64, 128, 256) or one strategy (32, 512, 1024)
/// takes at once, and some that divide by nothing: every variant at one number for each strategy, the fullest at all,
/// though by turns where rows are done in tiles, which are compiled for each number.
#[test]
fn every_number_of_classes() {
    const TILES: [usize; 11] = [1, 2, 3, 4, 5, 10, 15, 16, 17, 31, 32];
    const OTHERS: [usize; 13] = [33, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1000, 1003, 1025];
    table(|rows| {
        for classes in [5, 33, 513, 1003] {
            check_shape(rows, cases::variants(classes), &[3, classes]);
        }
        for (number, classes) in TILES.into_iter().enumerate() {
            let losses = cases::fullest(classes).into_iter().enumerate();
            let turn = losses.filter(|(place, _)| (place + number) % 2 == 0).map(|(_, loss)| loss);
            check_shape(rows, turn, &[3, classes]);
        }
        for classes in OTHERS {
            check_shape(rows, cases::fullest(classes), &[3, classes]);
        }
    });
}

/// Around a workgroup of 64 threads, below and above the threshold of the thread strategy.
#[test]
fn every_number_of_rows() {
    table(|rows| {
        for shape in [[1, 5], [63, 5], [64, 5], [65, 5], [1, 40], [65, 40], [3, 700]] {
            check_shape(rows, cases::fullest(shape[1]), &shape);
        }
    });
}

/// More rows than a dispatch has workgroups along one dimension, and than one workgroup of a reduction sums.
#[test]
fn more_than_65535_rows() {
    table(|rows| {
        for (place, (name, loss)) in cases::fullest(3).into_iter().enumerate() {
            let loss = loss.with_reduction([Reduction::Mean, Reduction::None][place % 2]);
            let tensors = cases::with_upstream(&*loss, &loss.example_inputs(&[66_001, 3], 3));
            check(rows, &name, &*loss, &tensors, cases::everything(&*loss, &tensors));
        }
    });
}

/// Class axes that are not last, with short and long distances between classes, and no batch axis at all.
#[test]
fn every_number_of_dimensions() {
    table(|rows| {
        for shape in [&[40][..], &[3, 5, 7], &[2, 4, 1, 1]] {
            check_shape(rows, cases::variants_of(shape), shape);
        }
        for shape in [&[9][..], &[2, 130, 3, 2], &[1, 33, 65], &[2, 3, 2, 2, 2], &[3, 2, 5, 4]] {
            check_shape(rows, cases::fullest_of(shape), shape);
        }
    });
}

/// NaN and infinities in some of the rows: the same kinds in the same places. A loss that is not defined for them says
/// so alike.
#[test]
fn nan_and_infinities_go_where_they_go_in_the_reference() {
    const VALUES: [f32; 4] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
    table(|rows| {
        for (shape, reductions) in [
            ([23, 6], &[Reduction::Mean][..]),
            ([23, 33], &[Reduction::None, Reduction::Mean]),
            ([5, 601], &[Reduction::None]),
        ] {
            let losses = if shape == [23, 6] { cases::fullest(6) } else { cases::variants(shape[1]) };
            for (name, loss) in losses {
                let mut tensors = cases::example_inputs(&*loss, &shape, 3).expect("every loss takes (N, C)");
                // One row in two has one of them; 7 is prime to every row length here.
                for (at, x) in tensors.input.iter_mut().enumerate().filter(|(at, _)| at % (2 * shape[1]) < shape[1]) {
                    if at % 7 == 0 {
                        *x = VALUES[at / 7 % 4];
                    }
                }
                for &reduction in reductions {
                    let loss = loss.with_reduction(reduction);
                    let tensors = cases::with_upstream(&*loss, &tensors);
                    let want = cases::everything(&*loss, &tensors);
                    match loss.evaluate(&Context::cpu(), &tensors.view().wants(want)) {
                        Ok(_) => check(rows, &name, &*loss, &tensors, want),
                        Err(refused) => {
                            let got = loss.evaluate(&gpu(), &tensors.view().wants(want));
                            let differs = format!("{got:?} instead of {refused:?}");
                            rows.row(&name, ensure(got == Err(refused), || differs));
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
            for (name, loss) in cases::variants_of(shape) {
                let Some(tensors) = cases::example_inputs(&*loss, shape, 1) else { continue };
                for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
                    let loss = loss.with_reduction(reduction);
                    let tensors = cases::with_upstream(&*loss, &tensors);
                    check(rows, &name, &*loss, &tensors, cases::everything(&*loss, &tensors));
                }
            }
        }
    });
}
