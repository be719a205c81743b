//! The CPU twin of skeleton/rows.wgsl and skeleton/reduce.wgsl: rows in parallel, sums in row order.

use ndarray::{Array1, ArrayD, ArrayView1, ArrayViewMut1, Axis, IxDyn};
use rayon::prelude::*;

use super::{Real, Sum};
use crate::kernel::{Denominator, Kernel, Layout, WeightSource};
use crate::losses::Loss;
use crate::problem::{Reduction, Want};
use crate::tensors::{Answer, RowStats, Target, Tensors};

/// A row's target.
#[derive(Debug, Clone, Copy)]
pub enum RowTarget<'a, F> {
    /// A class in range.
    Class(usize),
    /// A list of labels, ended by the first -1.
    Labels(ArrayView1<'a, i64>),
    /// One value per class.
    Values(ArrayView1<'a, F>),
}

/// One row that counts.
#[derive(Debug, Clone, Copy)]
pub struct RowIn<'a, F> {
    /// The row's logits (or scores).
    pub logits: ArrayView1<'a, F>,
    /// Its target.
    pub target: RowTarget<'a, F>,
    /// Class weights; empty if every class weighs 1.
    pub weight: &'a [F],
    /// grad_output * sample weight / denominator, NaN if the denominator is 0.
    pub scale: F,
}

impl<F: Real> RowIn<'_, F> {
    /// Weight of a class.
    #[must_use]
    pub fn class_weight(&self, class: usize) -> F {
        self.weight.get(class).copied().unwrap_or_else(F::one)
    }
}

/// Statistics of one row, see [`RowStats`].
#[derive(Debug, Clone, Copy)]
pub struct RowStat<F> {
    /// Log-sum-exp.
    pub lse: F,
    /// Entropy.
    pub entropy: F,
    /// The first class with the largest logit; `u32::MAX` if unknown.
    pub argmax: u32,
    /// Whether that is the target.
    pub hit: bool,
}

impl<F: Real> RowStat<F> {
    fn unknown() -> Self {
        Self { lse: F::nan(), entropy: F::nan(), argmax: u32::MAX, hit: false }
    }
}

/// Where a row's gradients go; they hold zeros.
#[derive(Debug)]
pub struct RowGrads<'a, F> {
    /// With respect to the logits.
    pub input: Option<ArrayViewMut1<'a, F>>,
    /// With respect to a floating-point target.
    pub target: Option<ArrayViewMut1<'a, F>>,
    /// Statistics, unknown so far.
    pub stat: RowStat<F>,
}

/// A loss over rows of classes, for one row: the twin of the loss' WGSL file.
pub trait RowTwin<F>: Sync {
    /// The row's loss; fills in the gradients that are there.
    fn row(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F;
}

/// Evaluates a loss over rows. The tensors have been checked.
pub fn rows<F: Real, L: RowTwin<F> + Loss>(
    loss: &L,
    kernel: &Kernel,
    tensors: &Tensors<'_, F>,
    want: Want,
) -> Answer<F> {
    let Layout::Rows(shape) = kernel.layout else {
        unreachable!("a loss over rows is lowered onto rows");
    };
    let axis = Axis(shape.axis);
    let weight: Vec<F> = match &kernel.weight {
        WeightSource::Host(values) => values.iter().map(|&w| F::of(f64::from(w))).collect(),
        WeightSource::None | WeightSource::Buffer => Vec::new(),
    };
    let reduced = kernel.reduction != Reduction::None;

    // None: ignored.
    let targets: Vec<Option<RowTarget<'_, F>>> = match &tensors.target {
        Target::Indices(labels) if kernel.marks => {
            labels.lanes(axis).into_iter().map(|row| Some(RowTarget::Labels(row))).collect()
        }
        Target::Indices(labels) => {
            labels.iter().map(|&t| (!loss.ignores(t)).then_some(RowTarget::Class(t as usize))).collect()
        }
        Target::Values(values) => values.lanes(axis).into_iter().map(|row| Some(RowTarget::Values(row))).collect(),
    };
    let sample_weight: Vec<F> = tensors.sample_weight.iter().flatten().copied().collect();
    let own_weight = |row: usize| sample_weight.get(row).copied().unwrap_or_else(F::one);
    let denominator = match kernel.denominator {
        Denominator::Fixed(value) => value,
        Denominator::Counted => {
            let class_weight = |class: &usize| weight.get(*class).map_or(1.0, |w| w.wide());
            let counted = targets.iter().enumerate().map(|(row, target)| match target {
                None => 0.0,
                Some(RowTarget::Class(class)) if kernel.weighs_mean => class_weight(class) * own_weight(row).wide(),
                Some(_) => own_weight(row).wide(),
            });
            counted.collect::<Sum<f64>>().total()
        }
    };
    let upstream: Vec<F> = tensors.grad_output.iter().flatten().copied().collect();
    let scale = |row: usize| {
        let upstream = upstream.get(if reduced { 0 } else { row }).copied().unwrap_or_else(F::one);
        if denominator == 0.0 { F::nan() } else { upstream * own_weight(row) / F::of(denominator) }
    };

    let zeros = |wanted: bool| wanted.then(|| ArrayD::<F>::zeros(tensors.input.raw_dim()));
    let mut grad_input = zeros(want.contains(Want::GRAD));
    let mut grad_target = zeros(want.contains(Want::GRAD_TARGET));
    let (losses, stats): (Vec<F>, Vec<RowStat<F>>) = {
        let mut grads: Vec<RowGrads<'_, F>> =
            (0..targets.len()).map(|_| RowGrads { input: None, target: None, stat: RowStat::unknown() }).collect();
        for (row, lane) in grad_input.iter_mut().flat_map(|g| g.lanes_mut(axis)).enumerate() {
            grads[row].input = Some(lane);
        }
        for (row, lane) in grad_target.iter_mut().flat_map(|g| g.lanes_mut(axis)).enumerate() {
            grads[row].target = Some(lane);
        }
        let logits: Vec<ArrayView1<'_, F>> = tensors.input.lanes(axis).into_iter().collect();
        logits
            .into_par_iter()
            .zip(targets)
            .zip(grads)
            .enumerate()
            .map(|(row, ((logits, target), mut grads))| {
                let loss = target.map_or_else(F::zero, |target| {
                    let row_in = RowIn { logits, target, weight: &weight, scale: scale(row) };
                    loss.row(&row_in, &mut grads) * own_weight(row)
                });
                (loss, grads.stat)
            })
            .unzip()
    };

    let loss = want.contains(Want::LOSS).then(|| {
        if reduced {
            let sum = losses.iter().map(|l| l.wide()).collect::<Sum<f64>>().total();
            let empty = denominator == 0.0 && sum == 0.0;
            let value = if empty { f64::from(kernel.empty) } else { sum / denominator };
            Array1::from_elem(1, F::of(value)).into_shape_with_order(IxDyn(&[]))
        } else {
            Array1::from_vec(losses).into_shape_with_order(IxDyn(&kernel.loss_shape))
        }
        .expect("one loss per row")
    });
    let stats = want.contains(Want::STATS).then(|| row_stats(&stats, &kernel.item_shape));
    Answer { loss, grad_input, grad_input2: None, grad_target, stats }
}

fn row_stats<F: Real>(stats: &[RowStat<F>], shape: &[usize]) -> RowStats<F> {
    fn column<F, T>(stats: &[RowStat<F>], shape: &[usize], of: fn(&RowStat<F>) -> T) -> ArrayD<T> {
        ArrayD::from_shape_vec(IxDyn(shape), stats.iter().map(of).collect()).expect("one value per row")
    }
    RowStats {
        lse: column(stats, shape, |stat| stat.lse),
        entropy: column(stats, shape, |stat| stat.entropy),
        argmax: column(stats, shape, |stat| stat.argmax),
        hit: column(stats, shape, |stat| stat.hit),
    }
}
