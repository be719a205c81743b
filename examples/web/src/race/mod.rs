//! The race: six small networks learn the handwritten digits from the same start, in the same batches, each by a loss of its own.
//! On a GPU a step is a few dispatches for all of them together, and what comes back is a few numbers; without one the same is
//! computed here, with the losses of the CPU reference.

mod cpu;
pub mod digits;
mod gpu;
pub mod network;

#[cfg(target_arch = "wasm32")]
mod js;

use std::sync::Arc;

use deeploss::internals::Rng;
use deeploss::{Context, CrossEntropy, Error, KlFromLogits, Loss, MultiMargin, SoftmaxFocal};

use digits::{CLASSES, Data, Scenario};
use network::{Descent, Network};

/// Hidden units of a runner, and of the teacher.
pub const HIDDEN: [usize; 2] = [32, 128];
/// Steps of the teacher, which learns by cross-entropy before the race.
pub const TEACHER_STEPS: usize = 300;
const TEACHER_DESCENT: Descent = Descent { rate: 0.05, momentum: 0.9 };
/// Steps that may be asked for at once.
pub const MOST_STEPS: usize = 64;
/// Tenths of confidence that a calibration diagram shows.
pub const BINS: usize = 10;

/// Runs: the loss' place in the race, in the order of `Options::runners`.
pub const RUNNERS: [&str; 6] = ["Cross-entropy", "Label smoothing", "Class weights", "Focal", "Hinge", "Distillation"];

/// What the losses are given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Of label smoothing.
    pub smoothing: f32,
    /// Of the focal loss.
    pub gamma: f32,
    /// Of distillation.
    pub temperature: f32,
}

/// A loss, and what its target is.
#[derive(Debug)]
pub(crate) struct Runner {
    loss: Box<dyn Loss>,
    /// The teacher's logits, or else the labels.
    takes_answers: bool,
}

impl Runner {
    fn of_labels(loss: impl Loss + 'static) -> Self {
        Self { loss: Box::new(loss), takes_answers: false }
    }
}

impl Options {
    /// The six, in the order of [`RUNNERS`]. Classes weigh inversely to their number of samples, 1 on average over the samples.
    fn runners(self, data: &Data) -> Vec<Runner> {
        let counts = data.train.counts();
        let samples = data.train.labels.len() as f32;
        let weights = counts.map(|count| samples / (CLASSES * count.max(1)) as f32);
        let distillation = Box::new(KlFromLogits::new().temperature(self.temperature));
        vec![
            Runner::of_labels(CrossEntropy::new()),
            Runner::of_labels(CrossEntropy::new().label_smoothing(self.smoothing)),
            Runner::of_labels(CrossEntropy::new().weight(weights)),
            Runner::of_labels(SoftmaxFocal::new().gamma(self.gamma)),
            Runner::of_labels(MultiMargin::new()),
            Runner { loss: distillation, takes_answers: true },
        ]
    }
}

/// Networks that are trained together.
enum Field {
    Cpu(cpu::Field),
    Gpu(Box<gpu::Field>),
}

/// What came of some steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Mean training loss of each step's batch, by network: (steps, K).
    pub losses: Vec<f32>,
    /// (K, CLASSES + 3 BINS + 1), after the last step, if asked for: see `tally` in shaders/race.wgsl.
    pub tallies: Option<Vec<f32>>,
}

impl Field {
    /// All networks start alike.
    async fn new(ctx: &Context, data: &Arc<Data>, start: &Network<f32>, runners: Vec<Runner>) -> Result<Self, Error> {
        Ok(match (ctx.device(), ctx.queue()) {
            (Some(device), Some(queue)) => {
                Self::Gpu(Box::new(gpu::Field::new(ctx, device, queue, data, start, runners).await?))
            }
            _ => Self::Cpu(cpu::Field::new(data.clone(), start, runners)),
        })
    }

    /// Trains from step `first` on.
    async fn advance(
        &mut self,
        first: usize,
        steps: usize,
        descent: Descent,
        measures: bool,
    ) -> Result<Progress, Error> {
        match self {
            Self::Cpu(field) => field.advance(first, steps, descent, measures),
            Self::Gpu(field) => field.advance(first, steps, descent, measures).await,
        }
    }

    /// Takes the answers of a teacher, the first network of another field, to all training samples.
    fn learn_from(&mut self, teacher: &Self) {
        match (self, teacher) {
            (Self::Cpu(field), Self::Cpu(teacher)) => field.learn_from(teacher),
            (Self::Gpu(field), Self::Gpu(teacher)) => field.learn_from(teacher),
            _ => unreachable!("both fields are of one context"),
        }
    }

    async fn set_runners(&mut self, runners: Vec<Runner>) -> Result<(), Error> {
        match self {
            Self::Cpu(field) => field.runners = runners,
            Self::Gpu(field) => field.set_runners(runners).await?,
        }
        Ok(())
    }

    fn restart(&mut self, start: &Network<f32>) {
        match self {
            Self::Cpu(field) => field.restart(start),
            Self::Gpu(field) => field.restart(start),
        }
    }
}

/// A race between its start and wherever it has got to.
pub struct Race {
    data: Arc<Data>,
    start: Network<f32>,
    teacher: Field,
    students: Field,
    taught: usize,
    step: usize,
}

impl Race {
    /// # Errors
    /// What the device has against it, or a loss against its options.
    pub async fn new(ctx: &Context, scenario: Scenario, seed: u64, options: Options) -> Result<Self, Error> {
        let data = Arc::new(Data::new(scenario, seed));
        let rng = &mut Rng::new(!seed);
        let [start, teacher] = HIDDEN.map(|hidden| Network::new(hidden, rng));
        Ok(Self {
            students: Field::new(ctx, &data, &start, options.runners(&data)).await?,
            teacher: Field::new(ctx, &data, &teacher, vec![Runner::of_labels(CrossEntropy::new())]).await?,
            data,
            start,
            taught: 0,
            step: 0,
        })
    }

    /// What is learned, and judged by.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Steps of the teacher so far: [`TEACHER_STEPS`] when the race begins.
    #[must_use]
    pub fn taught(&self) -> usize {
        self.taught
    }

    /// Steps of the race so far.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// So many steps of the teacher, [`MOST_STEPS`] at most; its tally is of one network.
    ///
    /// # Errors
    /// What the device has against it.
    pub async fn teach(&mut self, steps: usize) -> Result<Progress, Error> {
        let steps = steps.min(MOST_STEPS).min(TEACHER_STEPS - self.taught);
        let ends = self.taught + steps == TEACHER_STEPS;
        let progress = self.teacher.advance(self.taught, steps, TEACHER_DESCENT, ends).await?;
        self.taught += steps;
        if ends {
            self.students.learn_from(&self.teacher);
        }
        Ok(progress)
    }

    /// So many steps of the race, [`MOST_STEPS`] at most.
    ///
    /// # Errors
    /// What the device has against it.
    pub async fn advance(&mut self, steps: usize, descent: Descent, measures: bool) -> Result<Progress, Error> {
        let steps = steps.min(MOST_STEPS);
        let progress = self.students.advance(self.step, steps, descent, measures).await?;
        self.step += steps;
        Ok(progress)
    }

    /// Goes on with other options.
    ///
    /// # Errors
    /// What a loss has against its options.
    pub async fn set_options(&mut self, options: Options) -> Result<(), Error> {
        self.students.set_runners(options.runners(&self.data)).await
    }

    /// Back to the start; the teacher has learned already.
    pub fn restart(&mut self) {
        self.students.restart(&self.start);
        self.step = 0;
    }
}

/// What a network is worth on the held-out half.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Share of all images that are right.
    pub accuracy: f64,
    /// Share of each digit's images that are right.
    pub of_class: [f64; CLASSES],
    /// Of each tenth of confidence: images, share of them that are right, their mean confidence.
    pub bins: [(f64, f64, f64); BINS],
    /// Expected calibration error: how far confidence is from accuracy, on average over the images.
    pub calibration_error: f64,
    /// Mean of -log p of the right digit: cross-entropy, whatever the loss of the training was.
    pub surprise: f64,
}

/// Numbers of a network's tally.
const NUMBERS: usize = CLASSES + 3 * BINS + 1;

impl Figures {
    /// Of each network of a tally.
    #[must_use]
    pub fn of(tallies: &[f32], data: &Data) -> Vec<Self> {
        let counts = data.test.counts();
        let images = data.test.labels.len() as f64;
        let of_one = |tally: &[f32]| {
            let at = |number: usize| f64::from(tally[number]);
            let bins = std::array::from_fn(|bin| {
                let [count, right, confidence] = [0, 1, 2].map(|k| at(CLASSES + k * BINS + bin));
                (count, right / count.max(1.0), confidence / count.max(1.0))
            });
            Self {
                accuracy: (0..CLASSES).map(at).sum::<f64>() / images,
                of_class: std::array::from_fn(|class| at(class) / counts[class] as f64),
                bins,
                calibration_error: bins.iter().map(|(count, right, sure)| count * (right - sure).abs()).sum::<f64>()
                    / images,
                surprise: at(NUMBERS - 1) / images,
            }
        };
        tallies.chunks_exact(NUMBERS).map(of_one).collect()
    }
}

#[cfg(test)]
mod tests;
