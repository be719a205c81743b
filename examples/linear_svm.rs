//! A linear support vector machine: `Hinge` and weight decay tell benign from malignant tumours; beside it the same
//! with `SquaredHinge`. `cargo run --release --example linear_svm`

mod common;

use std::process::ExitCode;

use common::{Dataset, Network, Panel, Result, Rng, Series, Sgd};
use deeploss::{Context, Evaluate, Hinge, Loss, SquaredHinge, Tensors};
use ndarray::Axis;

/// Of ten seeds that were tried, one with about average results.
const SEED: u64 = 7;
const EPOCHS: usize = 60;
/// Decay is what makes it a support vector machine: it asks for the widest margin.
const SGD: Sgd = Sgd { rate: 0.01, momentum: 0.9, decay: 1e-2, batch: 32 };

/// What the example promises on the test data, with either loss. Each of the ten keeps it.
const ACCURACY: f64 = 0.93;

fn main() -> ExitCode {
    common::finish(compare())
}

fn compare() -> Result<()> {
    let ctx = common::context();
    let (mut train, mut test) = common::breast_cancer()?.split(0.8, &mut Rng::new(SEED));
    common::standardise(&mut train, &mut test);
    println!(
        "data        tumours, {} measurements: {} to train on, {} to test",
        train.features.ncols(),
        train.len(),
        test.len()
    );
    let hinge = fit(&ctx, &Hinge::new(), &train, &test)?;
    let squared = fit(&ctx, &SquaredHinge::new(), &train, &test)?;

    let file = common::output_file("linear_svm.svg")?;
    let panels = [
        Panel {
            title: "Training loss",
            series: &[
                Series { name: "hinge", values: &hinge.losses },
                Series { name: "squared hinge", values: &squared.losses },
            ],
        },
        Panel {
            title: "Test accuracy",
            series: &[
                Series { name: "hinge", values: &hinge.accuracies },
                Series { name: "squared hinge", values: &squared.accuracies },
            ],
        },
    ];
    common::draw_curves(&file, "epoch", 1, &panels)?;
    for (name, record) in [("Hinge       ", &hinge), ("SquaredHinge", &squared)] {
        println!("{name}  accuracy {:.1} % of the test samples", 100.0 * common::last(&record.accuracies));
    }
    println!("curves      {}", file.display());
    let least = common::last(&hinge.accuracies).min(common::last(&squared.accuracies));
    if least < ACCURACY {
        return Err(format!("expected an accuracy of at least {} % with either loss", 100.0 * ACCURACY).into());
    }
    Ok(())
}

/// What was measured after every epoch.
#[derive(Default)]
struct Record {
    losses: Vec<f64>,
    accuracies: Vec<f64>,
}

/// Trains a linear model; the same start and the same batches for every loss.
fn fit(ctx: &Context, loss: &impl Loss, train: &Dataset, test: &Dataset) -> Result<Record> {
    let rng = &mut Rng::new(SEED);
    // Class 1 is +1, class 0 is -1.
    let targets = train.labels.mapv(|label| 2 * label - 1).insert_axis(Axis(1));
    let mut network = Network::new(train.features.ncols(), &[], 1, rng);
    let mut record = Record::default();
    for _ in 0..EPOCHS {
        record.losses.push(network.epoch(&train.features, SGD, rng, |scores, samples| {
            let targets = targets.select(Axis(0), samples);
            common::loss_and_grad(loss.evaluate(ctx, &Tensors::new(scores.view(), targets.view()))?)
        })?);
        record.accuracies.push(common::accuracy(&network.forward(&test.features).logits, &test.labels));
    }
    Ok(record)
}
