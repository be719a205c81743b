//! A rare class: `SigmoidFocal` against binary cross-entropy, each without and with a weight on the rare class, so that
//! what the focus does and what the weight does can be told apart. `cargo run --release --example focal`
//!
//! Here the focus helps, and the weight helps more, with either loss. The longer the training, the smaller the
//! differences.

mod common;

use std::process::ExitCode;

use common::{Dataset, Network, Panel, Result, Rng, Series, Sgd};
use deeploss::{BceWithLogits, Context, Evaluate, Loss, SigmoidFocal, Tensors};
use ndarray::{Array1, Array2, Axis};

/// The digit to detect, and how many images of it are left to train on.
const RARE: i32 = 8;
const LEFT: usize = 20;
/// Focal loss: the weight of rare images (the others have what remains of 1), and how much less easy images count.
const BALANCE: f32 = 0.9;
const FOCUS: f32 = 2.0;
/// Results are of all splits together: a single one says little about so few images.
const SPLITS: u64 = 4;
const EPOCHS: usize = 60;
const SGD: Sgd = Sgd { rate: 0.4, momentum: 0.9, decay: 0.0, batch: 128 };

/// What the example promises of the balanced focal loss: its recall on the test images. That of a single split may be
/// lower.
const RECALL: f64 = 0.5;

fn main() -> ExitCode {
    common::finish(compare())
}

fn compare() -> Result<()> {
    let ctx = common::context();
    let splits = (1..=SPLITS).map(Split::new).collect::<Result<Vec<_>>>()?;
    let counts = |part: fn(&Split) -> &Dataset| {
        let (rare, all) = splits.iter().map(part).fold((0, 0), |(r, a), data| (r + data.labels.sum(), a + data.len()));
        format!("{rare} of {all}")
    };
    println!("data        is a handwritten digit an {RARE}? {SPLITS} splits, all together");
    println!("            {} to train on, {} to test", counts(|split| &split.train), counts(|split| &split.test));

    let plain = train(&ctx, &BceWithLogits::new(), &splits)?;
    let focal = train(&ctx, &SigmoidFocal::new().alpha(None).gamma(FOCUS), &splits)?;
    let weighted = BceWithLogits::new().pos_weight(BALANCE / (1.0 - BALANCE));
    let weighted = train(&ctx, &weighted, &splits)?;
    let balanced = train(&ctx, &SigmoidFocal::new().alpha(BALANCE).gamma(FOCUS), &splits)?;
    let results = [
        ("cross-entropy", &plain),
        ("focal", &focal),
        ("weighted cross-entropy", &weighted),
        ("balanced focal", &balanced),
    ];

    println!("\non test images          recall  precision  F1");
    for (name, found) in results {
        let last = found.last().copied().unwrap_or_default();
        println!("{name:22}  {:.3}   {:.3}      {:.3}", last.recall(), last.precision(), last.f1());
    }
    let file = common::output_file("focal.svg")?;
    let curves = |of: fn(&Found) -> f64| results.map(|(_, found)| found.iter().map(of).collect::<Vec<f64>>());
    let (recalls, f1s) = (curves(Found::recall), curves(Found::f1));
    let series = |i: usize, values| Series { name: results[i].0, values };
    let panels = [
        Panel { title: "Recall", series: &[0, 1, 2, 3].map(|i| series(i, &recalls[i])) },
        Panel { title: "F1", series: &[0, 1, 2, 3].map(|i| series(i, &f1s[i])) },
    ];
    common::draw_curves(&file, "epoch", 1, &panels)?;
    println!("\ncurves      {}", file.display());
    if common::last(&recalls[3]) < RECALL {
        return Err(format!("expected a recall of at least {RECALL} with the balanced focal loss").into());
    }
    Ok(())
}

/// Digits with class 1 for the rare one, of which few images are left to train on. The test images are as they were.
struct Split {
    train: Dataset,
    test: Dataset,
    seed: u64,
}

impl Split {
    fn new(seed: u64) -> Result<Self> {
        let mut data = common::digits()?;
        data.labels.mapv_inplace(|digit| i32::from(digit == RARE));
        let (train, test) = data.split(0.8, &mut Rng::new(seed));
        let (rare, mut rows): (Vec<usize>, Vec<usize>) = (0..train.len()).partition(|&row| train.labels[row] == 1);
        rows.extend(rare.iter().take(LEFT));
        Ok(Self { train: train.select(&rows), test, seed })
    }
}

/// Trains a linear model on every split. Returns what was found in the test images after every epoch, all splits
/// together.
fn train(ctx: &Context, loss: &dyn Loss, splits: &[Split]) -> Result<Vec<Found>> {
    let mut found = vec![Found::default(); EPOCHS];
    for Split { train, test, seed } in splits {
        let mut rng = Rng::new(*seed);
        let targets = train.labels.clone().insert_axis(Axis(1));
        let mut network = Network::new(train.features.ncols(), &[], 1, &mut rng);
        for found in &mut found {
            network.epoch(&train.features, SGD, &mut rng, |logits, samples| {
                let targets = targets.select(Axis(0), samples);
                common::loss_and_grad(loss.evaluate(ctx, &Tensors::new(logits.view(), targets.view()))?)
            })?;
            found.add(&network.forward(&test.features).logits, &test.labels);
        }
    }
    Ok(found)
}

/// How often class 1 was found, found where it is not, and missed.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    right: f64,
    wrong: f64,
    missed: f64,
}

impl Found {
    fn add(&mut self, scores: &Array2<f32>, labels: &Array1<i32>) {
        for (row, &label) in scores.rows().into_iter().zip(labels) {
            match (common::predicted(row), label) {
                (1, 1) => self.right += 1.0,
                (1, _) => self.wrong += 1.0,
                (_, 1) => self.missed += 1.0,
                _ => {}
            }
        }
    }

    /// Share of class 1 that was found.
    fn recall(&self) -> f64 {
        self.right / (self.right + self.missed)
    }

    /// Share of what was found that is class 1.
    fn precision(&self) -> f64 {
        self.right / (self.right + self.wrong)
    }

    /// Their harmonic mean.
    fn f1(&self) -> f64 {
        2.0 * self.right / (2.0 * self.right + self.wrong + self.missed)
    }
}
