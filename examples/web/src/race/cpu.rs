//! The networks on the CPU: without WebGPU, and what the GPU's are compared with.

use std::sync::Arc;

use deeploss::ndarray::{Array2, Axis};
use deeploss::{Context, Error, Evaluate, Tensors};

use super::digits::{CLASSES, Data};
use super::network::{Descent, Network};
use super::{BINS, NUMBERS, Progress, Runner};

/// See [`super::Field`].
pub(super) struct Field {
    data: Arc<Data>,
    networks: Vec<Network<f32>>,
    pub(super) runners: Vec<Runner>,
    /// The teacher's logits (samples, CLASSES).
    answers: Array2<f32>,
}

impl Field {
    pub(super) fn new(data: Arc<Data>, start: &Network<f32>, runners: Vec<Runner>) -> Self {
        let answers = Array2::zeros((data.train.labels.len(), CLASSES));
        Self { networks: vec![start.clone(); runners.len()], data, runners, answers }
    }

    pub(super) fn restart(&mut self, start: &Network<f32>) {
        self.networks.fill(start.clone());
    }

    pub(super) fn learn_from(&mut self, teacher: &Self) {
        self.answers = teacher.networks[0].forward(self.data.train.images.view()).logits;
    }

    pub(super) fn advance(
        &mut self,
        first: usize,
        steps: usize,
        descent: Descent,
        measures: bool,
    ) -> Result<Progress, Error> {
        let ctx = Context::cpu();
        let mut losses = Vec::with_capacity(steps * self.networks.len());
        for step in first..first + steps {
            let rows: Vec<usize> = self.data.batch(step).iter().map(|&row| row as usize).collect();
            let x = self.data.train.images.select(Axis(0), &rows);
            let labels = self.data.train.labels.select(Axis(0), &rows);
            let answers = self.answers.select(Axis(0), &rows);
            for (network, runner) in self.networks.iter_mut().zip(&self.runners) {
                let pass = network.forward(x.view());
                let logits = pass.logits.view();
                let tensors = if runner.takes_answers {
                    Tensors::new(logits, answers.view())
                } else {
                    Tensors::new(logits, labels.view())
                };
                let out = runner.loss.evaluate(&ctx, &tensors)?;
                losses.push(out.scalar().unwrap_or(f32::NAN));
                let dlogits = out.grad_input.and_then(|grad| grad.into_dimensionality().ok());
                let dlogits =
                    dlogits.expect("loss and gradient are wanted by default, the latter of the logits' shape");
                let gradient = network.gradient(x.view(), &pass, &dlogits);
                network.descend(&gradient, descent);
            }
        }
        let tallies = measures.then(|| self.networks.iter().flat_map(|network| tally(network, &self.data)).collect());
        Ok(Progress { losses, tallies })
    }
}

/// `judge` and `tally` of shaders/race.wgsl.
fn tally(network: &Network<f32>, data: &Data) -> [f32; NUMBERS] {
    let mut tally = [0.0; NUMBERS];
    let logits = network.forward(data.test.images.view()).logits;
    for (row, &label) in logits.rows().into_iter().zip(&data.test.labels) {
        let label = label as usize;
        let best = (1..CLASSES).fold(0, |best, c| if row[c] > row[best] { c } else { best });
        let sum: f32 = row.iter().map(|logit| (logit - row[best]).exp()).sum();
        let confidence = 1.0 / sum;
        let right = f32::from(u8::from(best == label));
        let bin = ((confidence * BINS as f32) as usize).min(BINS - 1);
        tally[label] += right;
        for (k, value) in [1.0, right, confidence].into_iter().enumerate() {
            tally[CLASSES + k * BINS + bin] += value;
        }
        tally[NUMBERS - 1] += sum.ln() - (row[label] - row[best]);
    }
    tally
}
