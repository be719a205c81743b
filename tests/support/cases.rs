//! Calls made from the table of losses: variants, reductions, outputs, upstream gradients. Nothing here knows a loss by its type,
//! and only this file looks into a [`Kernel`](deeploss::Kernel).

use deeploss::{Error, LOSSES, Layout, Loss, OwnedTarget, OwnedTensors, Problem, Reduction, TargetKind, Want};
use ndarray::{ArrayD, IxDyn};

use super::compare::Scales;

/// Every loss of the table with every variant for so many classes, named `loss[number]`.
pub fn variants(classes: usize) -> Vec<(String, Box<dyn Loss>)> {
    let of = |info: &deeploss::LossInfo| {
        let variants = (info.variants)(classes).into_iter().enumerate();
        variants.map(|(number, loss)| (format!("{}[{number}]", info.name), loss)).collect::<Vec<_>>()
    };
    LOSSES.iter().flat_map(of).collect()
}

/// The last variant of each loss, which has the most options: where many calls of one kind are made.
pub fn fullest(classes: usize) -> Vec<(String, Box<dyn Loss>)> {
    let last = |info: &deeploss::LossInfo| Some((info.name.to_owned(), (info.variants)(classes).pop()?));
    LOSSES.iter().filter_map(last).collect()
}

/// Whether the loss is made of rows of classes, not of independent elements.
pub fn has_rows(loss: &dyn Loss, tensors: &OwnedTensors) -> bool {
    let kernel = loss.kernel(&problem(tensors, Want::LOSS));
    kernel.is_ok_and(|kernel| matches!(kernel.layout, Layout::Rows(_)))
}

/// Whether this is its loss' first or last variant.
pub fn is_first_or_last(loss: &dyn Loss, classes: usize) -> bool {
    let variants = (loss.info().variants)(classes);
    let ends = [variants.first(), variants.last()];
    ends.into_iter().flatten().any(|end| format!("{end:?}") == format!("{loss:?}"))
}

/// Whether a boolean constant of the loss' kernel is set.
pub fn has_flag(loss: &dyn Loss, tensors: &OwnedTensors, flag: &str) -> bool {
    let kernel = loss.kernel(&problem(tensors, Want::LOSS));
    kernel.is_ok_and(|kernel| kernel.flags.contains(&(flag, true)))
}

/// [`variants`] for a shape, whose classes are axis 1 (0 of the shape (C)); once more for weights of the last axis, where
/// element-wise losses broadcast them.
pub fn variants_of(shape: &[usize]) -> Vec<(String, Box<dyn Loss>)> {
    let classes = shape[usize::from(shape.len() > 1)];
    let last = shape[shape.len() - 1];
    let mut all = variants(classes);
    if last != classes {
        let elements = |loss: &dyn Loss| !has_rows(loss, &loss.sample(&[1, last], 1));
        let others = variants(last).into_iter().filter(|(_, loss)| elements(&**loss));
        all.extend(others.map(|(name, loss)| (format!("{name} (last axis)"), loss)));
    }
    all
}

/// What the target of these tensors holds.
pub fn target_kind(tensors: &OwnedTensors) -> TargetKind {
    match tensors.target {
        OwnedTarget::Indices(_) => TargetKind::Indices,
        OwnedTarget::Values(_) => TargetKind::Values,
    }
}

/// The problem that these tensors are.
pub fn problem(tensors: &OwnedTensors, want: Want) -> Problem {
    tensors.view().problem(want)
}

/// Shape of the loss, and of grad_output.
pub fn loss_shape(loss: &dyn Loss, tensors: &OwnedTensors) -> Result<Vec<usize>, Error> {
    Ok(loss.kernel(&problem(tensors, Want::LOSS))?.loss_shape)
}

/// Shape of what there is one of per row, or item.
pub fn item_shape(loss: &dyn Loss, tensors: &OwnedTensors) -> Result<Vec<usize>, Error> {
    Ok(loss.kernel(&problem(tensors, Want::LOSS))?.item_shape)
}

/// Items of the unreduced loss.
pub fn items(loss: &dyn Loss, tensors: &OwnedTensors) -> usize {
    let unreduced = loss.with_reduction(Reduction::None);
    unreduced.kernel(&problem(tensors, Want::LOSS)).map_or(1, |kernel| kernel.items())
}

/// How the loss is reduced.
pub fn reduction(loss: &dyn Loss, tensors: &OwnedTensors) -> Reduction {
    loss.kernel(&problem(tensors, Want::LOSS)).map(|kernel| kernel.reduction).unwrap_or_default()
}

/// What differences in the answer to this call are measured against.
pub fn scales(loss: &dyn Loss, tensors: &OwnedTensors) -> Scales {
    Scales::of(tensors, reduction(loss, tensors), items(loss, tensors))
}

/// The loss with every reduction that it has; none, mean and sum are among them.
pub fn reductions(loss: &dyn Loss, tensors: &OwnedTensors) -> Vec<(Reduction, Box<dyn Loss>)> {
    let accepted = |reduction| {
        let loss = loss.with_reduction(reduction);
        let accepted = loss.kernel(&problem(tensors, Want::LOSS)).is_ok();
        assert!(accepted || reduction == Reduction::BatchMean, "{loss:?} refuses {:?}", tensors.input.shape());
        accepted.then_some((reduction, loss))
    };
    [Reduction::None, Reduction::Mean, Reduction::Sum, Reduction::BatchMean].into_iter().filter_map(accepted).collect()
}

/// The gradients that the loss has for these tensors; that of the input always.
pub fn gradients(loss: &dyn Loss, tensors: &OwnedTensors) -> Vec<Want> {
    let accepts = |want| loss.kernel(&problem(tensors, want)).is_ok();
    let target = target_kind(tensors) == TargetKind::Values && accepts(Want::GRAD_TARGET);
    let input2 = tensors.input2.is_some() && accepts(Want::GRAD_INPUT2);
    let others = [(Want::GRAD_TARGET, target), (Want::GRAD_INPUT2, input2)];
    [Want::GRAD].into_iter().chain(others.into_iter().filter_map(|(want, has)| has.then_some(want))).collect()
}

/// Everything that the loss can compute for these tensors.
pub fn everything(loss: &dyn Loss, tensors: &OwnedTensors) -> Want {
    gradients(loss, tensors).into_iter().fold(Want::LOSS, |all, want| all | want)
}

/// Outputs worth asking for: the loss alone, the gradient alone, each further gradient alone, and all at once.
pub fn wants(loss: &dyn Loss, tensors: &OwnedTensors) -> Vec<Want> {
    let mut wants = vec![Want::LOSS, Want::LOSS | Want::GRAD];
    wants.extend(gradients(loss, tensors));
    if !wants.contains(&everything(loss, tensors)) {
        wants.push(everything(loss, tensors));
    }
    wants
}

/// The tensors with an upstream gradient of the loss' shape: both signs, several magnitudes, a zero.
pub fn with_upstream(loss: &dyn Loss, tensors: &OwnedTensors) -> OwnedTensors {
    let mut tensors = tensors.clone();
    let shape = loss_shape(loss, &tensors).expect("a call that the loss accepts");
    let mut next = 0_i16;
    tensors.grad_output = Some(ArrayD::from_shape_simple_fn(IxDyn(&shape), || {
        next = (next + 3) % 8;
        f32::from(next - 4) * 0.75
    }));
    tensors
}

/// Typical tensors of this shape; `None` if the loss is not made for so many dimensions, or its weights are of another axis.
/// Every loss takes (N, C).
pub fn sample(loss: &dyn Loss, shape: &[usize], seed: u64) -> Option<OwnedTensors> {
    let tensors = loss.sample(shape, seed);
    match loss.kernel(&problem(&tensors, Want::LOSS)) {
        Ok(_) => Some(tensors),
        Err(Error::Shape { argument: "input" | "weight" | "pos_weight", .. }) if shape.len() != 2 => None,
        // A variant with an axis of its own.
        Err(Error::Value { argument: "class_axis", .. }) if shape.len() != 2 => None,
        Err(error) => panic!("{loss:?} refuses {shape:?}: {error}"),
    }
}
