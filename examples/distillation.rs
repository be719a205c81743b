//! Distillation: a small network learns from a large one's logits with `KlFromLogits`, and does better than from the
//! few labels that there are. `cargo run --release --example distillation`

mod common;

use std::process::ExitCode;

use common::{Dataset, Network, Panel, Result, Rng, Series, Sgd};
use deeploss::{Context, CrossEntropy, Evaluate, KlFromLogits, Tensors};
use ndarray::{Array2, Axis};

/// Of ten seeds that were tried, one with about average results.
const SEED: u64 = 9;
const CLASSES: usize = 10;
/// Sizes of the hidden layers.
const TEACHER: [usize; 2] = [256, 128];
const STUDENT: [usize; 1] = [16];
/// Softens the teacher's answers, so that its second and third guesses are heard.
const TEMPERATURE: f32 = 4.0;
/// Images whose labels the plain student gets. The distilled one sees all training images, but no label.
const LABELLED: usize = 200;
const EPOCHS: usize = 60;
const SGD: Sgd = Sgd { rate: 0.05, momentum: 0.9, decay: 0.0, batch: 32 };

/// What the example promises of the distilled student on the test images: its accuracy, and how much better than the
/// plain one it is. Each of the ten keeps it.
const ACCURACY: f64 = 0.95;
const GAIN: f64 = 0.02;

fn main() -> ExitCode {
    common::finish(distil())
}

fn distil() -> Result<()> {
    let ctx = common::context();
    let mut rng = Rng::new(SEED);
    let (train, test) = common::digits()?.split(0.8, &mut rng);
    let inputs = train.features.ncols();
    println!("data        handwritten digits, {inputs} pixels: {} to train on, {} to test", train.len(), test.len());
    println!(
        "networks    teacher {inputs}-{}-{}-{CLASSES}, students {inputs}-{}-{CLASSES}",
        TEACHER[0], TEACHER[1], STUDENT[0]
    );

    let mut teacher = Network::new(inputs, &TEACHER, CLASSES, &mut rng);
    let taught = learn_labels(&ctx, &mut teacher, &train, &test, &mut rng)?;

    // All students start from the same weights.
    let student = Network::new(inputs, &STUDENT, CLASSES, &mut rng);
    let few = train.select(&Vec::from_iter(0..LABELLED.min(train.len())));
    let plain = learn_labels(&ctx, &mut student.clone(), &few, &test, &mut rng)?;
    let all = learn_labels(&ctx, &mut student.clone(), &train, &test, &mut rng)?;
    let answers = teacher.forward(&train.features).logits;
    let distilled = learn_logits(&ctx, &mut student.clone(), &train.features, &answers, &test, &mut rng)?;

    let file = common::output_file("distillation.svg")?;
    let curve = |name, values| Series { name, values };
    let series = [
        curve("teacher", &taught),
        curve("student, few labels", &plain),
        curve("student, all labels", &all),
        curve("student, distilled", &distilled),
    ];
    common::draw_curves(&file, "epoch", 1, &[Panel { title: "Test accuracy", series: &series }])?;

    let [taught, plain, all, distilled] = [taught, plain, all, distilled].map(|curve| common::last(&curve));
    println!("teacher     {:.1} % of the test images, from {} labels", 100.0 * taught, train.len());
    println!("plain       {:.1} %, from {} labels", 100.0 * plain, few.len());
    println!("all labels  {:.1} %, from {} labels", 100.0 * all, train.len());
    println!("distilled   {:.1} %, from the teacher's logits at temperature {TEMPERATURE}", 100.0 * distilled);
    println!("curves      {}", file.display());
    if distilled < ACCURACY {
        return Err(format!("expected a distilled accuracy of at least {} %", 100.0 * ACCURACY).into());
    }
    if distilled < plain + GAIN {
        return Err(format!("expected distillation to gain at least {} points", 100.0 * GAIN).into());
    }
    Ok(())
}

/// Trains a network on labels. Returns the test accuracy after every epoch, as the next one does.
fn learn_labels(
    ctx: &Context,
    network: &mut Network,
    train: &Dataset,
    test: &Dataset,
    rng: &mut Rng,
) -> Result<Vec<f64>> {
    let loss = CrossEntropy::new();
    let mut accuracies = Vec::new();
    for _ in 0..EPOCHS {
        network.epoch(&train.features, SGD, rng, |logits, samples| {
            let labels = train.labels.select(Axis(0), samples);
            common::loss_and_grad(loss.evaluate(ctx, &Tensors::new(logits.view(), labels.view()))?)
        })?;
        accuracies.push(common::accuracy(&network.forward(&test.features).logits, &test.labels));
    }
    Ok(accuracies)
}

/// Trains a network on the logits that another one, its teacher, gives for the same images.
fn learn_logits(
    ctx: &Context,
    network: &mut Network,
    images: &Array2<f32>,
    teacher: &Array2<f32>,
    test: &Dataset,
    rng: &mut Rng,
) -> Result<Vec<f64>> {
    let loss = KlFromLogits::new().temperature(TEMPERATURE);
    let mut accuracies = Vec::new();
    for _ in 0..EPOCHS {
        network.epoch(images, SGD, rng, |logits, samples| {
            let answers = teacher.select(Axis(0), samples);
            common::loss_and_grad(loss.evaluate(ctx, &Tensors::new(logits.view(), answers.view()))?)
        })?;
        accuracies.push(common::accuracy(&network.forward(&test.features).logits, &test.labels));
    }
    Ok(accuracies)
}
