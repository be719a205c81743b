//! The CPU reference of items/template.wgsl and reduce/sum_to_shape.wgsl: items in parallel, sums in item order.
//!
//! A task computes some neighbouring items, in loops over one output each. What such a loop reads lies in slices of the
//! task's length, whether a tensor is read in place, broadcasts, or is not there.

use std::borrow::Cow;
use std::ops::Range;

use half::{bf16, f16};
use ndarray::{ArrayD, Axis, CowArray, IxDyn};

use super::lanes::{TILE, Task, blocks, run_all, wide_sum};
use super::output::{OutputPart, contiguous, elements, parts, ranges, unwritten};
use super::stored::{Convert, SinkPart};
use super::{HostCall, Real, Sum, reduced};
use crate::broadcast::Operand;
use crate::error::Error;
use crate::lowered::{Denominator, Layout, Lowered, WeightSource};
use crate::problem::Want;
use crate::tensors::{Input, Output, Sink, Target};

/// One element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemIn<F> {
    /// The input.
    pub(crate) x: F,
    /// The second input; 0 where there is none.
    pub(crate) second: F,
    /// The target.
    pub(crate) t: F,
    /// Its weight.
    pub(crate) w: F,
    /// The weight of the positive part.
    pub(crate) pos_weight: F,
    /// grad_output / denominator: both gradients' factor.
    pub(crate) g: F,
}

/// Loss and gradients of one element. The gradients are multiplied with `g`, in an order that leaves the range of the
/// scalar only where the result does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemOut<F> {
    /// The loss.
    pub(crate) loss: F,
    /// g d loss / d input.
    pub(crate) dx: F,
    /// g d loss / d second input, or g d loss / d target.
    pub(crate) d_second: F,
}

/// An element-wise loss, for one element: the CPU reference of the loss' WGSL file.
pub(crate) trait ItemReference<F: Real>: Sync {
    /// Loss and gradients. `#[inline(always)]` and without branches that depend on the element: it becomes the body
    /// of a loop that is compiled once for each width of vectors.
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F>;

    /// Values that the loss is not defined for, where it is not defined for every float.
    ///
    /// # Errors
    /// [`Error::Value`] naming the tensor, the element and what was expected.
    fn check_values(&self, _: &HostCall<'_, F>) -> Result<(), Error> {
        Ok(())
    }
}

/// Items of one task.
const TASK: usize = 4096;

/// Evaluates a loss that has been lowered onto items. The tensors have been checked.
pub(crate) fn items<F: Real, L: ItemReference<F>>(
    loss: &L,
    lowered: &Lowered,
    tensors: &HostCall<'_, F>,
    grad: Option<Sink<'_, F>>,
) -> Result<Output<F>, Error> {
    let Layout::Items(layout) = &lowered.layout else {
        unreachable!("an element-wise loss is lowered onto items");
    };
    let (shape, want) = (&layout.broadcast, tensors.want);
    let items = shape.items();
    let is_reduced = lowered.is_reduced();
    let second = tensors.input2.as_ref().map(|second| second.as_standard_layout());
    let t = match &tensors.target {
        Target::Values(values) => Some(values.as_standard_layout()),
        // Never: an element-wise loss refuses class indices when it is lowered.
        Target::Indices(_) => None,
    };
    let upstream = tensors.grad_output.as_ref().map(|upstream| upstream.as_standard_layout());
    let mask = tensors.ignore_mask.as_ref().map(|mask| mask.as_standard_layout());
    let mask = mask.as_ref().map(elements);
    let denominator = match (lowered.denominator, mask) {
        (Denominator::Fixed(value), _) => value,
        (Denominator::Counted, None) => items as f64,
        (Denominator::Counted, Some(mask)) => mask.iter().filter(|&&ignored| !ignored).count() as f64,
    };
    let divisor = if denominator == 0.0 { F::nan() } else { F::of(denominator) };
    let call = Items {
        loss,
        dims: shape.dims,
        x: Source::input(tensors.input, shape.input.strides, items),
        second: Source::tensor(second.as_ref(), shape.second.as_ref(), F::zero(), items),
        t: Source::tensor(t.as_ref(), Some(&shape.target), F::zero(), items),
        w: Source::weights(&lowered.weight, shape.weight.as_ref()),
        pos_weight: Source::weights(&layout.pos_weight, shape.pos_weight.as_ref()),
        counts: mask.map_or_else(|| Source::constant(F::one()), Source::Counts),
        scale: match upstream.as_ref().map(elements) {
            Some(upstream) if !is_reduced => Source::Scales(upstream, divisor),
            upstream => Source::constant(upstream.map_or(F::one(), |upstream| upstream[0]) / divisor),
        },
    };

    let out = |wanted: bool| wanted.then(|| unwritten(&shape.shape)).transpose();
    let mut losses = out(want.contains(Want::LOSS) && !is_reduced)?;
    let mut d_second = out(want.contains(Want::GRAD_INPUT2) || want.contains(Want::GRAD_TARGET))?;
    // The gradient of an input that broadcasts is first as wide as the items.
    let (dense, folded) = if shape.is_dense(&shape.input) { (grad, None) } else { (None, grad) };
    let mut wide = out(folded.is_some())?;
    let ranges = ranges(items, 1, TASK);
    let dx = match dense.or(wide.as_mut().map(Sink::Plain)) {
        Some(grad) => grad.parts([items, 1, 1], TASK),
        None => ranges.iter().map(|_| None).collect(),
    };
    let chunks = ranges
        .into_iter()
        .zip(parts(losses.as_mut(), [items, 1, 1], TASK))
        .zip(dx)
        .zip(parts(d_second.as_mut(), [items, 1, 1], TASK))
        .map(|(((items, losses), dx), d_second)| Chunk { call: &call, items, losses, dx, d_second });
    let sums = run_all(chunks.collect(), items);

    let reduce = || reduced(lowered, sums, denominator);
    // SAFETY: each part of each output went to a chunk, and a chunk writes all elements of its parts.
    let [losses, wide, d_second] = [losses, wide, d_second].map(|out| out.map(|out| unsafe { out.assume_init() }));
    if let (Some(grad), Some(wide)) = (folded, wide) {
        grad.fill(fold(wide, tensors.shape));
    }
    let input2 = tensors.input2.as_ref().map(|x| x.shape()).unwrap_or_default();
    let own = if want.contains(Want::GRAD_INPUT2) { input2 } else { &lowered.target_shape };
    let d_second = d_second.map(|wide| fold(wide, own));
    let (grad_input2, grad_target) = if want.contains(Want::GRAD_INPUT2) { (d_second, None) } else { (None, d_second) };
    let loss = want.contains(Want::LOSS).then(|| losses.unwrap_or_else(reduce));
    Ok(Output { loss, grad_input: None, grad_input2, grad_target, stats: None })
}

/// Where one number per item comes from.
enum Source<'a, F> {
    /// The same for all: as many as a task has items.
    Constant(Vec<F>),
    /// A tensor of the items' shape.
    Dense(&'a [F]),
    /// A tensor that broadcasts, and its strides.
    Broadcast(&'a [F], [usize; 4]),
    /// An input in 16 bits, and its strides.
    F16(&'a [f16], [usize; 4]),
    Bf16(&'a [bf16], [usize; 4]),
    /// Weights among the options, and their strides.
    Weights(&'a [f32], [usize; 4]),
    /// 0 where the mask is set, 1 elsewhere.
    Counts(&'a [bool]),
    /// Upstream gradients, and what they are divided by.
    Scales(&'a [F], F),
}

impl<'a, F: Real> Source<'a, F> {
    fn constant(value: F) -> Self {
        Self::Constant(vec![value; TASK])
    }

    fn tensor(tensor: Option<&'a CowArray<'_, F, IxDyn>>, operand: Option<&Operand>, default: F, items: usize) -> Self {
        match (tensor.map(elements), operand) {
            (Some(values), Some(_)) if values.len() == items => Self::Dense(values),
            (Some(values), Some(operand)) => Self::Broadcast(values, operand.strides),
            _ => Self::constant(default),
        }
    }

    fn input(input: Input<'a, F>, strides: [usize; 4], items: usize) -> Self {
        match input {
            Input::Plain(values) if values.len() == items => Self::Dense(values),
            Input::Plain(values) => Self::Broadcast(values, strides),
            Input::F16(values) => Self::F16(values, strides),
            Input::Bf16(values) => Self::Bf16(values, strides),
        }
    }

    fn weights(source: &'a WeightSource, operand: Option<&Operand>) -> Self {
        match (source, operand) {
            (WeightSource::Host(values), Some(operand)) => Self::Weights(values, operand.strides),
            _ => Self::constant(F::one()),
        }
    }

    /// The numbers of some items.
    fn of(&self, items: &Range<usize>, dims: [usize; 4]) -> Cow<'_, [F]> {
        match self {
            Self::Constant(values) => Cow::Borrowed(&values[..items.len()]),
            Self::Dense(values) => Cow::Borrowed(&values[items.clone()]),
            Self::Broadcast(values, strides) => Cow::Owned(gather(values, items, dims, *strides, |v| v)),
            Self::F16(values, strides) => Cow::Owned(gather(values, items, dims, *strides, Convert::widen)),
            Self::Bf16(values, strides) => Cow::Owned(gather(values, items, dims, *strides, Convert::widen)),
            Self::Weights(values, strides) => {
                Cow::Owned(gather(values, items, dims, *strides, |w| F::of(f64::from(w))))
            }
            Self::Counts(mask) => {
                let count = |&ignored: &bool| if ignored { F::zero() } else { F::one() };
                Cow::Owned(mask[items.clone()].iter().map(count).collect())
            }
            Self::Scales(upstream, divisor) => {
                Cow::Owned(upstream[items.clone()].iter().map(|&upstream| upstream / *divisor).collect())
            }
        }
    }
}

/// What a tensor with these strides holds for some items, in runs along the last dimension.
fn gather<T: Copy, F: Copy>(
    values: &[T],
    items: &Range<usize>,
    dims: [usize; 4],
    strides: [usize; 4],
    convert: impl Fn(T) -> F,
) -> Vec<F> {
    let mut out = Vec::with_capacity(items.len());
    let mut item = items.start;
    while item < items.end {
        let (row, column) = (item / dims[3], item % dims[3]);
        let run = (dims[3] - column).min(items.end - item);
        let place = [row / dims[2] / dims[1], row / dims[2] % dims[1], row % dims[2], column];
        let first: usize = place.iter().zip(strides).map(|(at, stride)| at * stride).sum();
        match strides[3] {
            0 => out.resize(out.len() + run, convert(values[first])),
            _ => out.extend(values[first..first + run].iter().map(|&v| convert(v))),
        }
        item += run;
    }
    out
}

/// One call: what all its tasks read.
struct Items<'a, F, L> {
    loss: &'a L,
    dims: [usize; 4],
    x: Source<'a, F>,
    second: Source<'a, F>,
    t: Source<'a, F>,
    w: Source<'a, F>,
    pos_weight: Source<'a, F>,
    /// 0 for ignored items, else 1.
    counts: Source<'a, F>,
    /// grad_output / denominator, NaN if that is 0.
    scale: Source<'a, F>,
}

/// One task: some items, and the parts of the outputs that belong to them.
struct Chunk<'a, F, L> {
    call: &'a Items<'a, F, L>,
    items: Range<usize>,
    losses: Option<OutputPart<'a, F>>,
    dx: Option<SinkPart<'a, F>>,
    d_second: Option<OutputPart<'a, F>>,
}

/// A tile of each output. On the stack, vectors of 64 bytes would else straddle cache lines.
#[repr(align(64))]
struct Outputs<F>([[F; TILE]; 3]);

impl<F: Real, L: ItemReference<F>> Task for Chunk<'_, F, L> {
    type Scalar = F;
    type Output = f64;

    #[inline(always)]
    fn run<const BITS: usize>(self) -> f64 {
        let call = self.call;
        let sources = [&call.x, &call.second, &call.t, &call.w, &call.pos_weight, &call.counts, &call.scale];
        let slices = sources.map(|source| source.of(&self.items, call.dims));
        let [mut losses, mut d_second] = [self.losses, self.d_second].map(|part| part.map(contiguous));
        let mut dx = self.dx;
        let slices = slices.each_ref().map(|slice| &**slice);
        let mut sum = Sum::new();
        blocks(slices, |place, [x, second, t, w, pos_weight, counts, scale]: [&[F; TILE]; 7]| {
            let Outputs(out) = &mut Outputs([[F::zero(); TILE]; 3]);
            for k in 0..TILE {
                let item =
                    ItemIn { x: x[k], second: second[k], t: t[k], w: w[k], pos_weight: pos_weight[k], g: scale[k] };
                let item = call.loss.item(&item);
                // Whatever an ignored item holds.
                let counted = counts[k] != F::zero();
                out[0][k] = if counted { item.loss } else { F::zero() };
                out[1][k] = if counted { item.dx } else { F::zero() };
                out[2][k] = if counted { item.d_second } else { F::zero() };
            }
            for (to, values) in [(&mut losses, &out[0]), (&mut d_second, &out[2])] {
                if let Some(to) = to {
                    to[place.clone()].iter_mut().zip(values).for_each(|(to, &value)| _ = to.write(value));
                }
            }
            if let Some(dx) = &mut dx {
                dx.write(place.clone(), &out[1]);
            }
            sum.add(wide_sum(&out[0][..place.len()]));
        });
        sum.total()
    }
}

/// Sums a gradient over the dimensions along which its tensor was broadcast: rounded once for each of them, at most four
/// times.
fn fold<F: Real>(wide: ArrayD<F>, own: &[usize]) -> ArrayD<F> {
    let mut sums = wide;
    for axis in 0..sums.ndim() {
        let own_size = (axis + own.len()).checked_sub(sums.ndim()).map_or(1, |k| own[k]);
        if own_size != sums.len_of(Axis(axis)) {
            let folded =
                sums.map_axis(Axis(axis), |lane| F::of(lane.iter().map(|v| v.wide()).collect::<Sum>().total()));
            sums = folded.insert_axis(Axis(axis));
        }
    }
    sums.into_shape_with_order(own).expect("as many elements as the tensor has")
}
