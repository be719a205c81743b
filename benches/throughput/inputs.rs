//! What losses are measured on, and what they should give.

use std::ops::Range;

use deeploss::internals::{OwnedTarget, OwnedTensors, Rng};
use deeploss::{Context, Evaluate, Loss, LossInfo, Problem, Want};
use ndarray::{ArrayD, Axis, Slice};

use crate::check::same_values;
use crate::choice::want;
use crate::outcome::Outcome;
use crate::storage::Storage;

const SEED: u64 = 1;
/// Logits at most that are drawn, given to the CPU reference, and compared with it.
const MAX_DRAWN: usize = 1 << 22;

/// The variant that is measured: the first of the loss' row in the table.
pub(crate) fn first_variant(info: &LossInfo, classes: usize) -> Outcome<Box<dyn Loss>> {
    (info.variants)(classes).into_iter().next().ok_or_else(|| format!("{} has no variants", info.name).into())
}

/// Random tensors of typical values in which every row counts: an ignored one would cost nothing.
pub(crate) fn draw(loss: &dyn Loss, shape: [usize; 2]) -> OwnedTensors {
    let mut host = loss.example_inputs(&shape, SEED);
    if let OwnedTarget::Indices(labels) = &mut host.target {
        let classes = shape[1] as i64;
        (0..).zip(labels.iter_mut()).filter(|(_, v)| loss.ignores(**v)).for_each(|(i, v)| *v = 7919 * i % classes);
    }
    host
}

/// The tensors of a call. Of a large one only the first rows are drawn, and all others repeat them.
#[derive(Clone)]
pub(crate) struct Inputs {
    pub(crate) drawn: OwnedTensors,
    shape: [usize; 2],
}

impl Inputs {
    pub(crate) fn draw(loss: &dyn Loss, shape: [usize; 2]) -> Self {
        let [rows, classes] = shape;
        Self { drawn: draw(loss, [rows.min((MAX_DRAWN / classes).max(1)), classes]), shape }
    }

    /// The same with an input that this storage can hold.
    pub(crate) fn stored(&self, storage: Storage) -> Self {
        let mut inputs = self.clone();
        if storage != Storage::F32 {
            inputs.drawn.input.mapv_inplace(|v| storage.round(v));
        }
        inputs
    }

    /// The first of the drawn rows alone.
    pub(crate) fn first_rows(&self, count: usize) -> Self {
        Self { drawn: first_rows(&self.drawn, count), shape: [count, self.shape[1]] }
    }

    pub(crate) fn problem(&self, mode: &str) -> Problem {
        let resized = |shape: &[usize]| [&self.shape[..1], &shape[1..]].concat();
        let host = self.drawn.view();
        let problem = Problem::new(&self.shape, host.target.kind()).target_shape(&resized(host.target.shape()));
        let problem = match &host.input2 {
            Some(input2) => problem.input2_shape(&resized(input2.shape())),
            None => problem,
        };
        problem.wants(want(mode))
    }

    /// Rows that are compared with the reference: of a large input the first, the last and some between.
    pub(crate) fn compared(&self) -> Vec<Range<usize>> {
        let (rows, drawn) = (self.shape[0], self.drawn_rows());
        if rows == drawn {
            return std::iter::once(0..rows).collect();
        }
        let count = (drawn / 4).max(2).min(rows);
        let mut rng = Rng::new(SEED);
        let last = rows - count;
        // From an even row on, so that 16-bit elements begin with a whole word.
        let from = |start: usize| (start & !1)..start + count;
        [0, rng.below(last), rng.below(last), last].map(from).into()
    }

    /// Bytes of rows of the input, or of its gradient.
    pub(crate) fn bytes(&self, rows: &Range<usize>, storage: Storage) -> Range<u64> {
        let at = |row: usize| (row * self.shape[1] * storage.size()) as u64;
        at(rows.start)..at(rows.end).next_multiple_of(4)
    }

    /// By the CPU reference.
    pub(crate) fn expected(&self, loss: &dyn Loss) -> Outcome<Expected> {
        let evaluate = |host: &OwnedTensors, wanted| loss.evaluate(&Context::cpu(), &host.view().wants(wanted));
        let (rows, drawn) = (self.shape[0], self.drawn_rows());
        let output = evaluate(&self.drawn, Want::LOSS | Want::GRAD)?;
        let (Some(mean), Some(gradient)) = (output.scalar(), output.grad_input) else {
            return Err("no reference".into());
        };
        let part = |count: usize, mean: f32| f64::from(mean) * count as f64 / rows as f64;
        let rest = rows % drawn;
        let mut loss = part(rows - rest, mean);
        if rest > 0 {
            loss += part(rest, evaluate(&first_rows(&self.drawn, rest), Want::LOSS)?.scalar().unwrap_or(f32::NAN));
        }
        let scale = (drawn as f64 / rows as f64) as f32;
        let gradient = gradient.iter().map(|&v| scale * v).collect();
        Ok(Expected { loss: loss as f32, gradient, classes: self.shape[1] })
    }

    fn drawn_rows(&self) -> usize {
        self.drawn.input.shape()[0]
    }
}

fn first_rows(host: &OwnedTensors, count: usize) -> OwnedTensors {
    fn cut<T: Clone>(tensor: &ArrayD<T>, count: usize) -> ArrayD<T> {
        tensor.slice_axis(Axis(0), Slice::from(..count)).to_owned()
    }
    let target = match &host.target {
        OwnedTarget::Indices(labels) => OwnedTarget::Indices(cut(labels, count)),
        OwnedTarget::Values(values) => OwnedTarget::Values(cut(values, count)),
    };
    OwnedTensors {
        input2: host.input2.as_ref().map(|v| cut(v, count)),
        ..OwnedTensors::new(cut(&host.input, count), target)
    }
}

/// Results of a call: the mean of the losses, and the gradient of the drawn rows, which all others repeat.
pub(crate) struct Expected {
    loss: f32,
    gradient: Vec<f32>,
    classes: usize,
}

impl Expected {
    pub(crate) fn check_loss(&self, got: &[f32], tolerance: impl Fn(f32) -> f32) -> Result<(), String> {
        same_values(got, &[self.loss], tolerance).map_err(|e| format!("loss: {e}"))
    }

    /// Of these rows.
    pub(crate) fn check_gradient(
        &self,
        rows: &Range<usize>,
        got: &[f32],
        tolerance: impl Fn(f32) -> f32,
    ) -> Result<(), String> {
        let elements = self.classes * rows.start..self.classes * rows.end;
        let expected: Vec<f32> = elements.map(|at| self.gradient[at % self.gradient.len()]).collect();
        // 16-bit elements come in pairs.
        let got = &got[..got.len().min(expected.len())];
        same_values(got, &expected, tolerance).map_err(|e| format!("gradient of rows {rows:?}: {e}"))
    }
}
