//! Proves that the CPU path gives the same bits whatever the number of threads, for every loss, variant and reduction.

use deeploss::{Context, Evaluate, Reduction};

use crate::support::compare::bits;
use crate::support::{cases, ensure, reason, table};

/// Several tasks' worth of rows and items; classes last and in the middle; ends of vectors, tiles and tasks.
#[test]
fn the_number_of_threads_changes_no_bit() {
    let pools: Vec<_> = [1, 2, 3, 7]
        .into_iter()
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool"))
        .collect();
    let ctx = Context::cpu();
    table(|rows| {
        for shape in [&[901, 10][..], &[7, 1003], &[2, 5, 700]] {
            for (name, loss) in cases::variants_of(shape) {
                let Some(tensors) = cases::example_inputs(&*loss, shape, 5) else { continue };
                for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
                    let loss = loss.with_reduction(reduction);
                    let tensors = cases::with_upstream(&*loss, &tensors);
                    let want = cases::everything(&*loss, &tensors);
                    let run = || loss.evaluate(&ctx, &tensors.view().wants(want)).map_err(reason);
                    let outcome = pools.iter().map(|pool| pool.install(run)).collect::<Result<Vec<_>, _>>();
                    let outcome = outcome.and_then(|outputs| {
                        let same = outputs.iter().all(|output| bits(output) == bits(&outputs[0]));
                        ensure(same, || "the bits depend on the number of threads")
                    });
                    rows.row(format!("{name} {reduction:?} {shape:?}"), outcome);
                }
            }
        }
    });
}
