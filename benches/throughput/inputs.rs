//! What losses are measured on.

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{Loss, LossInfo};
use ndarray::{ArrayD, Axis, Slice};

use crate::outcome::Outcome;
use crate::storage::Storage;

const SEED: u64 = 1;

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

/// The same with an input that this storage can hold.
pub(crate) fn stored(host: &OwnedTensors, storage: Storage) -> OwnedTensors {
    let mut host = host.clone();
    if storage != Storage::F32 {
        host.input.mapv_inplace(|v| storage.round(v));
    }
    host
}

pub(crate) fn first_rows(host: &OwnedTensors, count: usize) -> OwnedTensors {
    fn cut<T: Clone>(tensor: &ArrayD<T>, count: usize) -> ArrayD<T> {
        tensor.slice_axis(Axis(0), Slice::from(..count)).to_owned()
    }
    let target = match &host.target {
        OwnedTarget::Indices(labels) => OwnedTarget::Indices(cut(labels, count)),
        OwnedTarget::Values(values) => OwnedTarget::Values(cut(values, count)),
    };
    OwnedTensors::new(cut(&host.input, count), target)
}
