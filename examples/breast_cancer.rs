//! Logistic regression: `BceWithLogits` tells malignant from benign tumours. `cargo run --release --example
//! breast_cancer`
//!
//! Malignant is the positive class and the smaller one; `pos_weight` makes up for that.

mod common;

use std::process::ExitCode;

use common::{Dataset, Network, Panel, Result, Rng, Series, Sgd};
use deeploss::{BceWithLogits, Evaluate, Tensors};
use ndarray::{Array1, Array2, Axis};

/// Of ten seeds that were tried, one with about average results.
const SEED: u64 = 7;
const EPOCHS: usize = 40;
const SGD: Sgd = Sgd { rate: 0.01, momentum: 0.9, decay: 1e-2, batch: 32 };

/// What the example promises on the test data. Each of the ten keeps it.
const ACCURACY: f64 = 0.95;
const AREA: f64 = 0.98;

fn main() -> ExitCode {
    common::finish(train())
}

fn train() -> Result<()> {
    let ctx = common::context();
    let mut rng = Rng::new(SEED);
    let (mut train, mut test) = malignant()?.split(0.8, &mut rng);
    common::standardise(&mut train, &mut test);
    let positives = train.labels.sum() as f32;
    let pos_weight = (train.len() as f32 - positives) / positives.max(1.0);
    println!(
        "data        tumours, {} measurements: {} to train on, {} to test",
        train.features.ncols(),
        train.len(),
        test.len()
    );
    println!("loss        BceWithLogits, pos_weight {pos_weight:.3}: benign per malignant training sample");

    let loss = BceWithLogits::new().pos_weight(pos_weight);
    let targets = train.labels.clone().insert_axis(Axis(1));
    let mut network = Network::new(train.features.ncols(), &[], 1, &mut rng);
    let (mut losses, mut accuracies, mut areas) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..EPOCHS {
        losses.push(network.epoch(&train.features, SGD, &mut rng, |logits, samples| {
            let targets = targets.select(Axis(0), samples);
            common::loss_and_grad(loss.evaluate(&ctx, &Tensors::new(logits.view(), targets.view()))?)
        })?);
        let scores = network.forward(&test.features).logits;
        accuracies.push(common::accuracy(&scores, &test.labels));
        areas.push(area_under_roc(&scores, &test.labels));
    }

    let file = common::output_file("breast_cancer.svg")?;
    let panels = [
        Panel { title: "Loss", series: &[Series { name: "training", values: &losses }] },
        Panel {
            title: "Test",
            series: &[
                Series { name: "accuracy", values: &accuracies },
                Series { name: "area under ROC curve", values: &areas },
            ],
        },
    ];
    common::draw_curves(&file, "epoch", 1, &panels)?;
    let (accuracy, area) = (common::last(&accuracies), common::last(&areas));
    println!("accuracy    {:.1} % of the test samples", 100.0 * accuracy);
    println!("ROC AUC     {area:.4}");
    println!("curves      {}", file.display());
    if accuracy < ACCURACY {
        return Err(format!("expected an accuracy of at least {} %", 100.0 * ACCURACY).into());
    }
    if area < AREA {
        return Err(format!("expected a ROC AUC of at least {AREA}").into());
    }
    Ok(())
}

/// The tumours, with malignant as class 1.
fn malignant() -> Result<Dataset> {
    let data = common::breast_cancer()?;
    Ok(Dataset { labels: 1 - data.labels, ..data })
}

/// How often a positive sample scores higher than a negative one: the area under the ROC curve. Equal scores count
/// half. Scores are (N, 1).
fn area_under_roc(scores: &Array2<f32>, labels: &Array1<i32>) -> f64 {
    let of = |class: i32| scores.iter().zip(labels).filter(move |(_, label)| **label == class).map(|(score, _)| *score);
    let mut higher = 0.0;
    for positive in of(1) {
        for negative in of(0) {
            higher += if positive > negative {
                1.0
            } else if positive == negative {
                0.5
            } else {
                0.0
            };
        }
    }
    higher / (of(1).count() * of(0).count()) as f64
}
