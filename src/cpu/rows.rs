//! The CPU reference of rows/template.wgsl and reduce/template.wgsl: rows in parallel, sums in row order.
//!
//! A task computes some neighbouring rows. Where the class axis is last it reads and writes them in place; else it
//! gathers a tile of positions first and scatters their gradients afterwards.

use std::borrow::Cow;
use std::ops::Range;

use ndarray::ArrayD;

use super::grad_row::GradRow;
use super::lanes::{LANES, Task, run_all};
use super::output::{OutputPart, contiguous, elements, parts, ranges, unwritten};
use super::stored::{Convert, Gradient, SinkPart};
use super::{HostCall, Real, Sum, counted, reduced};
use crate::error::Error;
use crate::lowered::{Denominator, Layout, Lowered, WeightSource};
use crate::problem::{RowShape, Want};
use crate::tensors::{Input, Output, RowStats, Sink, Target};

/// A row's target.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RowTarget<'a, F> {
    /// A class in range.
    Class(usize),
    /// A list of labels, ended by the first -1.
    Labels(&'a [i64]),
    /// One value per class.
    Values(&'a [F]),
}

/// One non-ignored row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowIn<'a, F> {
    /// The row's logits (or scores).
    pub(crate) logits: &'a [F],
    /// Its target.
    pub(crate) target: RowTarget<'a, F>,
    /// Its class weights; 1 for every class if the loss has none.
    pub(crate) weight: &'a [F],
    /// grad_output * sample weight / denominator, NaN where there is no mean.
    pub(crate) scale: F,
}

/// Statistics of one row, see [`RowStats`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowStat<F> {
    /// Log-sum-exp.
    pub(crate) lse: F,
    /// Entropy.
    pub(crate) entropy: F,
    /// The first class with the largest logit; `u32::MAX` if unknown.
    pub(crate) argmax: u32,
    /// Whether that is the target.
    pub(crate) hit: bool,
}

impl<F: Real> RowStat<F> {
    fn unknown() -> Self {
        Self { lse: F::nan(), entropy: F::nan(), argmax: u32::MAX, hit: false }
    }
}

/// Where a row's outputs besides the loss go, those that are wanted.
#[derive(Debug)]
pub(crate) struct RowGrads<'a, F> {
    /// With respect to the logits.
    pub(crate) input: Option<GradRow<'a, F>>,
    /// With respect to a floating-point target.
    pub(crate) target: Option<GradRow<'a, F>>,
    /// Statistics, unknown so far.
    pub(crate) stat: Option<RowStat<F>>,
}

impl<F: Real> RowGrads<'_, F> {
    /// NaN for every gradient.
    pub(crate) fn fill_nan(&mut self) {
        self.input.iter_mut().chain(&mut self.target).for_each(|grad| grad.values().fill(F::nan()));
    }
}

/// A loss over rows of classes, for one row: the CPU reference of the loss' WGSL file.
pub(crate) trait RowReference<F: Real>: Sync {
    /// The row's loss; writes the gradients that are there, as far as they are not zero. `#[inline(always)]`, because
    /// it is compiled once for each width of vectors.
    fn row<const BITS: usize>(&self, row: &RowIn<'_, F>, grads: &mut RowGrads<'_, F>) -> F;

    /// Whether a class index is ignored.
    fn ignores(&self, target: i64) -> bool {
        let _ = target;
        false
    }

    /// Values that the loss is not defined for, where it is not defined for every float.
    ///
    /// # Errors
    /// [`Error::Value`] or [`Error::Target`], naming what was expected.
    fn check_values(&self, _: &HostCall<'_, F>) -> Result<(), Error> {
        Ok(())
    }

    /// Whether this loss has [`batched`](Self::batched).
    fn takes_batched(&self) -> bool {
        false
    }

    /// The losses of batched rows; their gradients take the place of the logits. Called where the loss
    /// [takes](Self::takes_batched) them. Also `#[inline(always)]`.
    fn batched(&self, rows: &mut BatchedRows<'_, F>) -> [F; LANES] {
        let _ = rows;
        [F::nan(); LANES]
    }
}

/// [`LANES`] short rows side by side, each as in [`RowIn`]; ignored ones hold anything.
#[derive(Debug)]
pub(crate) struct BatchedRows<'a, F> {
    /// The logits of each class.
    pub(crate) classes: &'a mut [[F; LANES]],
    /// Classes in range.
    pub(crate) target: [u32; LANES],
    /// The weights of these classes.
    pub(crate) weight: [F; LANES],
    /// Scales of the gradients.
    pub(crate) scale: [F; LANES],
}

/// Rows of up to this many classes are batched: one row alone would leave most lanes of a loop empty.
const BATCHED_CLASSES: usize = 64;

/// Elements that one task reads if rows are side by side.
const TASK: usize = 4096;
/// Elements of a tile, where they are not; and the positions in it: at least a cache line of them.
const TILE: usize = 1 << 16;
const TILE_ROWS: [usize; 2] = [16, 256];

/// Evaluates a loss that has been lowered onto rows. The tensors have been checked.
pub(crate) fn rows<F: Real, L: RowReference<F>>(
    loss: &L,
    lowered: &Lowered,
    tensors: &HostCall<'_, F>,
    grad: Option<Sink<'_, F>>,
) -> Result<Output<F>, Error> {
    let Layout::Rows(layout) = &lowered.layout else {
        unreachable!("a loss over rows is lowered onto rows");
    };
    let (shape, want) = (layout.shape, tensors.want);
    let (labels, values) = match &tensors.target {
        Target::Indices(labels) => (Some(labels.as_standard_layout()), None),
        Target::Values(values) => (None, Some(values.as_standard_layout())),
    };
    let weight: Vec<F> = match &lowered.weight {
        WeightSource::Host(values) => values.iter().map(|&w| F::of(f64::from(w))).collect(),
        WeightSource::None | WeightSource::Buffer => vec![F::one(); shape.classes],
    };
    let sample_weight: Vec<F> = tensors.sample_weight.iter().flatten().copied().collect();
    let excluded = tensors.excluded_rows();
    let upstream: Vec<F> = tensors.grad_output.iter().flatten().copied().collect();
    let mut call = Rows {
        loss,
        shape,
        input: tensors.input,
        target: match (&labels, &values) {
            (Some(lists), _) if layout.has_lists() => Targets::Lists(elements(lists)),
            (Some(classes), _) => Targets::Classes(elements(classes)),
            (None, values) => Targets::Values(values.as_ref().map(elements).unwrap_or_default()),
        },
        weight: &weight,
        row_weights: layout.row_weights,
        sample_weight: &sample_weight,
        excluded: &excluded,
        upstream: &upstream,
        reduced: lowered.is_reduced(),
        denominator: 1.0,
    };
    call.denominator = match lowered.denominator {
        Denominator::Fixed(value) => value,
        Denominator::Counted => call.counted(layout.weighs_mean && lowered.weight.is_given()),
    };
    // Where nothing counts and the mean is a number of the caller's choice, gradients are 0 whatever the rows hold.
    let is_flat = call.denominator == 0.0 && !f32::from_bits(lowered.empty).is_nan();
    let (grad_input, flat_grad) = if is_flat { (None, grad) } else { (grad, None) };
    flat_grad.into_iter().for_each(|grad| grad.fill(std::iter::repeat(F::zero())));

    let each = want.contains(Want::LOSS) && !call.reduced;
    let out = |wanted: bool, shape: &[usize]| wanted.then(|| unwritten(shape)).transpose();
    let mut losses = out(each, &lowered.item_shape)?;
    let mut stats = want.contains(Want::STATS).then(|| unwritten(&lowered.item_shape)).transpose()?;
    let mut grad_target = out(want.contains(Want::GRAD_TARGET) && !is_flat, tensors.shape)?;
    let step = match shape.inner {
        1 => (TASK / shape.classes).max(1),
        _ => (TILE / shape.classes).clamp(TILE_ROWS[0], TILE_ROWS[1]),
    };
    let (per_class, per_row) = ([shape.outer, shape.classes, shape.inner], [shape.outer, 1, shape.inner]);
    let ranges = ranges(shape.outer, shape.inner, step);
    let grad_parts = match grad_input {
        Some(grad) => grad.parts(per_class, step),
        None => ranges.iter().map(|_| None).collect(),
    };
    let chunks = ranges
        .into_iter()
        .zip(grad_parts)
        .zip(parts(grad_target.as_mut(), per_class, step))
        .zip(parts(losses.as_mut(), per_row, step))
        .zip(parts(stats.as_mut(), per_row, step))
        .map(|((((rows, grad_input), grad_target), losses), stats)| Chunk {
            call: &call,
            rows,
            grad_input,
            grad_target,
            losses,
            stats,
        });
    let sums = run_all(chunks.collect(), call.input.len());

    let reduce = || reduced(lowered, sums, call.denominator);
    // SAFETY: each part of each output went to a chunk, and a chunk writes all elements of its parts.
    let [losses, grad_target] = [losses, grad_target].map(|out| out.map(|out| unsafe { out.assume_init() }));
    // SAFETY: likewise.
    let stats = stats.map(|out| row_stats(&unsafe { out.assume_init() }));
    let loss = want.contains(Want::LOSS).then(|| losses.unwrap_or_else(reduce));
    let zeros = || want.contains(Want::GRAD_TARGET).then(|| ArrayD::zeros(tensors.shape));
    Ok(Output { loss, grad_input: None, grad_input2: None, grad_target: grad_target.or_else(zeros), stats })
}

/// Targets of all rows, dense.
enum Targets<'a, F> {
    Classes(&'a [i64]),
    Lists(&'a [i64]),
    Values(&'a [F]),
}

/// One call: what all its tasks read. Tensors are dense; sample weights and upstream gradients are empty where all are
/// 1, and so are the excluded rows where there are none.
struct Rows<'a, F, L> {
    loss: &'a L,
    shape: RowShape,
    input: Input<'a, F>,
    target: Targets<'a, F>,
    weight: &'a [F],
    /// Class weights differ from row to row: there is one for each logit.
    row_weights: bool,
    sample_weight: &'a [F],
    excluded: &'a [bool],
    upstream: &'a [F],
    reduced: bool,
    denominator: f64,
}

impl<F: Real, L: RowReference<F>> Rows<'_, F, L> {
    fn own_weight(&self, row: usize) -> F {
        self.sample_weight.get(row).copied().unwrap_or_else(F::one)
    }

    fn scale(&self, row: usize) -> F {
        let upstream = self.upstream.get(if self.reduced { 0 } else { row }).copied().unwrap_or_else(F::one);
        if self.denominator == 0.0 { F::nan() } else { upstream / F::of(self.denominator) * self.own_weight(row) }
    }

    /// Whether a row counts for nothing, for its class index or whatever it holds.
    fn ignores(&self, row: usize) -> bool {
        let is_ignored = |classes: &[i64]| self.loss.ignores(classes[row]);
        matches!(self.target, Targets::Classes(classes) if is_ignored(classes)) || self.excluded.get(row) == Some(&true)
    }

    /// The sum of the weights of the rows that are not ignored.
    fn counted(&self, weighs_mean: bool) -> f64 {
        let rows = 0..self.shape.rows();
        if !weighs_mean && self.sample_weight.is_empty() {
            return rows.filter(|&row| !self.ignores(row)).count() as f64;
        }
        let weight = |row: usize| match self.target {
            _ if self.ignores(row) => 0.0,
            Targets::Classes(classes) if weighs_mean => {
                self.weight[classes[row] as usize].wide() * self.own_weight(row).wide()
            }
            Targets::Classes(_) | Targets::Lists(_) | Targets::Values(_) => self.own_weight(row).wide(),
        };
        counted(rows.map(weight))
    }

    /// Elements of a tensor (N, C, D) for some rows, one row after the other.
    #[inline(always)]
    fn gather<'a, T: Copy>(&self, tensor: &'a [T], rows: &Range<usize>) -> Cow<'a, [T]> {
        let RowShape { classes, inner, .. } = self.shape;
        match inner {
            1 => Cow::Borrowed(&tensor[rows.start * classes..rows.end * classes]),
            _ => Cow::Owned(self.converted(tensor, rows, |v| v)),
        }
    }

    /// The same of the logits, in the type that is computed in.
    fn logits(&self, rows: &Range<usize>) -> Cow<'_, [F]> {
        match self.input {
            Input::Plain(logits) => self.gather(logits, rows),
            Input::F16(logits) => Cow::Owned(self.converted(logits, rows, Convert::widen)),
            Input::Bf16(logits) => Cow::Owned(self.converted(logits, rows, Convert::widen)),
        }
    }

    fn converted<T: Copy, U>(&self, tensor: &[T], rows: &Range<usize>, convert: impl Fn(T) -> U) -> Vec<U> {
        let RowShape { classes, inner, .. } = self.shape;
        let first = rows.start / inner * classes * inner + rows.start % inner;
        let mut tile = Vec::with_capacity(rows.len() * classes);
        if inner == 1 {
            tile.extend(tensor[first..][..rows.len() * classes].iter().map(|&v| convert(v)));
            return tile;
        }
        for row in 0..rows.len() {
            tile.extend(tensor[first + row..].iter().step_by(inner).take(classes).map(|&v| convert(v)));
        }
        tile
    }
}

/// One task: some rows, and the parts of the outputs that belong to them.
struct Chunk<'a, F, L> {
    call: &'a Rows<'a, F, L>,
    rows: Range<usize>,
    grad_input: Option<SinkPart<'a, F>>,
    grad_target: Option<OutputPart<'a, F>>,
    losses: Option<OutputPart<'a, F>>,
    stats: Option<OutputPart<'a, RowStat<F>>>,
}

impl<F: Real, L: RowReference<F>> Task for Chunk<'_, F, L> {
    type Scalar = F;
    type Output = f64;

    #[inline(always)]
    fn run<const BITS: usize>(self) -> f64 {
        let (call, classes) = (self.call, self.call.shape.classes);
        let batched = classes <= BATCHED_CLASSES && call.shape.inner == 1 && call.loss.takes_batched();
        if let (Targets::Classes(targets), true, None) = (&call.target, batched, &self.stats) {
            return self.batched(targets);
        }
        let logits = call.logits(&self.rows);
        let (lists, values) = match call.target {
            Targets::Lists(lists) => (call.gather(lists, &self.rows), Cow::default()),
            Targets::Values(values) => (Cow::default(), call.gather(values, &self.rows)),
            Targets::Classes(_) => Default::default(),
        };
        let row_weights = if call.row_weights { call.gather(call.weight, &self.rows) } else { Cow::default() };
        let open = |part| Gradient::open(part, self.rows.len(), call.shape);
        let (mut grad_input, mut grad_target) =
            (self.grad_input.map(open), self.grad_target.map(SinkPart::Plain).map(open));
        let (mut losses, mut stats) = (self.losses.map(contiguous), self.stats.map(contiguous));
        let mut sum = Sum::new();
        for (k, row) in self.rows.clone().enumerate() {
            let own = k * classes..(k + 1) * classes;
            let target = match call.target {
                _ if call.ignores(row) => None,
                Targets::Classes(classes) => Some(RowTarget::Class(classes[row] as usize)),
                Targets::Lists(_) => Some(RowTarget::Labels(&lists[own.clone()])),
                Targets::Values(_) => Some(RowTarget::Values(&values[own.clone()])),
            };
            let mut grads = RowGrads {
                input: grad_input.as_mut().map(|grad| GradRow::new(&mut grad.memory()[own.clone()])),
                target: grad_target.as_mut().map(|grad| GradRow::new(&mut grad.memory()[own.clone()])),
                stat: stats.is_some().then(RowStat::unknown),
            };
            // Not in a closure, which would be compiled apart from this loop, for narrow vectors.
            let mut loss = F::zero();
            if let Some(target) = target {
                let weight = if call.row_weights { &row_weights[own.clone()] } else { call.weight };
                let row_in = RowIn { logits: &logits[own], target, weight, scale: call.scale(row) };
                loss = call.loss.row::<BITS>(&row_in, &mut grads) * call.own_weight(row);
            }
            sum.add(loss.wide());
            losses.iter_mut().for_each(|losses| _ = losses[k].write(loss));
            // Zeros, where nothing has been written.
            grads.input.iter_mut().chain(&mut grads.target).for_each(|grad| _ = grad.values());
            stats.iter_mut().zip(grads.stat).for_each(|(stats, stat)| _ = stats[k].write(stat));
        }
        // SAFETY: `values` above has filled every row.
        grad_input.into_iter().chain(grad_target).for_each(|grad| unsafe { grad.close() });
        sum.total()
    }
}

impl<F: Real, L: RowReference<F>> Chunk<'_, F, L> {
    /// Batched short rows.
    #[inline(always)]
    fn batched(self, targets: &[i64]) -> f64 {
        let (call, classes) = (self.call, self.call.shape.classes);
        let logits = call.logits(&self.rows);
        let open = |part| Gradient::open(part, self.rows.len(), call.shape);
        let (mut grad_input, mut losses) = (self.grad_input.map(open), self.losses.map(contiguous));
        let mut tile = [[F::zero(); LANES]; BATCHED_CLASSES];
        let mut sum = Sum::new();
        for start in (0..self.rows.len()).step_by(LANES) {
            let lanes = start..self.rows.len().min(start + LANES);
            let zeros = [F::zero(); LANES];
            let mut rows =
                BatchedRows { classes: &mut tile[..classes], target: [0; LANES], weight: zeros, scale: zeros };
            let mut counts = zeros;
            for (k, row) in lanes.clone().enumerate() {
                for (class, &v) in rows.classes.iter_mut().zip(&logits[row * classes..]) {
                    class[k] = v;
                }
                let (row, target) = (self.rows.start + row, targets[self.rows.start + row]);
                if !call.ignores(row) {
                    counts[k] = call.own_weight(row);
                    (rows.target[k], rows.weight[k]) = (target as u32, call.weight[target as usize]);
                    rows.scale[k] = call.scale(row);
                }
            }
            let own = call.loss.batched(&mut rows);
            for (k, row) in lanes.enumerate() {
                let ignored = call.ignores(self.rows.start + row);
                let loss = if ignored { F::zero() } else { own[k] * counts[k] };
                sum.add(loss.wide());
                if let Some(losses) = &mut losses {
                    losses[row].write(loss);
                }
                if let Some(grad) = &mut grad_input {
                    for (out, class) in grad.memory()[row * classes..].iter_mut().zip(&*rows.classes) {
                        out.write(if ignored { F::zero() } else { class[k] });
                    }
                }
            }
        }
        // SAFETY: every class of every row has been written.
        grad_input.into_iter().for_each(|grad| unsafe { grad.close() });
        sum.total()
    }
}

fn row_stats<F: Real>(stats: &ArrayD<RowStat<F>>) -> RowStats<F> {
    RowStats {
        lse: stats.map(|stat| stat.lse),
        entropy: stats.map(|stat| stat.entropy),
        argmax: stats.map(|stat| stat.argmax),
        hit: stats.map(|stat| stat.hit),
    }
}
