//! The CPU twin of skeleton/items.wgsl and skeleton/fold.wgsl: items in parallel, sums in item order.

use std::borrow::Cow;

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn};
use rayon::prelude::*;

use super::{Real, Sum};
use crate::kernel::{Denominator, Kernel, Layout, Operand, WeightSource};
use crate::problem::{Reduction, Want};
use crate::tensors::{Answer, Target, Tensors};

/// One element.
#[derive(Debug, Clone, Copy)]
pub struct ItemIn<F> {
    /// The input.
    pub x: F,
    /// The second input; 0 where there is none.
    pub second: F,
    /// The target.
    pub t: F,
    /// Its weight.
    pub w: F,
    /// The weight of the positive part.
    pub pos_weight: F,
}

/// Loss and derivatives of one element.
#[derive(Debug, Clone, Copy)]
pub struct ItemOut<F> {
    /// The loss.
    pub loss: F,
    /// d loss / d input.
    pub dx: F,
    /// d loss / d second input, or d loss / d target.
    pub d_second: F,
}

/// An element-wise loss, for one element: the twin of the loss' WGSL file.
pub trait ItemTwin<F>: Sync {
    /// Loss and derivatives.
    fn item(&self, item: &ItemIn<F>) -> ItemOut<F>;
}

/// Evaluates an element-wise loss. The tensors have been checked.
pub fn items<F: Real, L: ItemTwin<F>>(loss: &L, kernel: &Kernel, tensors: &Tensors<'_, F>, want: Want) -> Answer<F> {
    let Layout::Items(shape) = &kernel.layout else {
        unreachable!("an element-wise loss is lowered onto items");
    };
    let wide = |view: &ArrayViewD<'_, F>| stretch(view, &shape.shape);
    let x = wide(&tensors.input);
    let second = tensors.input2.as_ref().map(wide);
    let t = match &tensors.target {
        Target::Values(values) => wide(values),
        // Never: the kernel of an element-wise loss refuses class indices.
        Target::Indices(_) => Vec::new(),
    };
    let weight = weights(&kernel.weight, shape.weight.as_ref(), &shape.shape);
    let pos_weight = weights(&kernel.pos_weight, shape.pos_weight.as_ref(), &shape.shape);
    let mask: Option<Vec<bool>> = tensors.ignore_mask.as_ref().map(|mask| mask.iter().copied().collect());
    let counts = |i: usize| mask.as_ref().is_none_or(|mask| !mask[i]);

    let reduced = kernel.reduction != Reduction::None;
    let denominator = match kernel.denominator {
        Denominator::Fixed(value) => value,
        Denominator::Counted => (0..x.len()).filter(|&i| counts(i)).count() as f64,
    };
    let upstream: Cow<'_, [F]> = tensors.grad_output.iter().flatten().copied().collect();
    let scale = |i: usize| {
        let upstream = upstream.get(if reduced { 0 } else { i }).copied().unwrap_or_else(F::one);
        if denominator == 0.0 { F::nan() } else { upstream / F::of(denominator) }
    };
    let at = |values: &Option<Vec<F>>, i: usize, default: F| values.as_ref().map_or(default, |values| values[i]);
    let out: Vec<ItemOut<F>> = (0..x.len())
        .into_par_iter()
        .with_min_len(1024)
        .map(|i| {
            if !counts(i) {
                return ItemOut { loss: F::zero(), dx: F::zero(), d_second: F::zero() };
            }
            let item = ItemIn {
                x: x[i],
                second: at(&second, i, F::zero()),
                t: t[i],
                w: at(&weight, i, F::one()),
                pos_weight: at(&pos_weight, i, F::one()),
            };
            let answer = loss.item(&item);
            ItemOut { loss: answer.loss, dx: scale(i) * answer.dx, d_second: scale(i) * answer.d_second }
        })
        .collect();

    let gradient = |wanted: bool, of: fn(&ItemOut<F>) -> F, own: &[usize]| {
        wanted.then(|| fold(out.iter().map(of).collect(), &shape.shape, own))
    };
    let loss = want.contains(Want::LOSS).then(|| {
        if !reduced {
            return array(out.iter().map(|item| item.loss).collect(), &shape.shape);
        }
        let sum = out.iter().map(|item| item.loss.wide()).collect::<Sum<f64>>().total();
        let empty = denominator == 0.0 && sum == 0.0;
        array(vec![F::of(if empty { f64::from(kernel.empty) } else { sum / denominator })], &[])
    });
    let input2 = tensors.input2.as_ref().map(|x| x.shape()).unwrap_or_default();
    Answer {
        loss,
        grad_input: gradient(want.contains(Want::GRAD), |item| item.dx, tensors.input.shape()),
        grad_input2: gradient(want.contains(Want::GRAD_INPUT2), |item| item.d_second, input2),
        grad_target: gradient(want.contains(Want::GRAD_TARGET), |item| item.d_second, &kernel.target_shape),
        stats: None,
    }
}

fn array<F>(values: Vec<F>, shape: &[usize]) -> ArrayD<F> {
    ArrayD::from_shape_vec(IxDyn(shape), values).expect("one value per item")
}

/// A tensor at the items' shape.
fn stretch<F: Real>(view: &ArrayViewD<'_, F>, shape: &[usize]) -> Vec<F> {
    view.broadcast(IxDyn(shape)).map(|wide| wide.iter().copied().collect()).unwrap_or_default()
}

fn weights<F: Real>(source: &WeightSource, operand: Option<&Operand>, shape: &[usize]) -> Option<Vec<F>> {
    let (WeightSource::Host(values), Some(operand)) = (source, operand) else { return None };
    let own = array(values.iter().map(|&w| F::of(f64::from(w))).collect(), &operand.shape);
    Some(stretch(&own.view(), shape))
}

/// Sums a gradient over the dimensions along which its tensor was broadcast.
fn fold<F: Real>(wide: Vec<F>, shape: &[usize], own: &[usize]) -> ArrayD<F> {
    let mut sums = array(wide, shape);
    for axis in 0..shape.len() {
        let own_size = (axis + own.len()).checked_sub(shape.len()).map_or(1, |k| own[k]);
        if own_size != shape[axis] {
            let folded = sums.map_axis(Axis(axis), |lane| lane.iter().copied().collect::<Sum<F>>().total());
            sums = folded.insert_axis(Axis(axis));
        }
    }
    array(sums.into_iter().collect(), own)
}
