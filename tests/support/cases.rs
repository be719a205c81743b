//! Calls made from the table of losses: variants, reductions, outputs, upstream gradients. Nothing here knows a loss by
//! its type, and only this file looks into a [`Lowered`].

use deeploss::internals::{Layout, Lowered, OwnedTarget, OwnedTensors};
use deeploss::{Error, LOSSES, Loss, LossInfo, OptionValue, Options, Problem, Reduction, TargetKind, Want};
use ndarray::{ArrayD, IxDyn};

use super::compare::Scales;

/// A loss, and what it is called in a table of outcomes.
pub(crate) type Named = (String, Box<dyn Loss>);

/// Every loss of the table with every variant for this number of classes, named `loss[number]`.
pub(crate) fn variants(classes: usize) -> Vec<Named> {
    let of = |info: &LossInfo| {
        let variants = (info.variants)(classes).into_iter().enumerate();
        variants.map(|(number, loss)| (format!("{}[{number}]", info.name), loss)).collect::<Vec<_>>()
    };
    LOSSES.iter().flat_map(of).collect()
}

/// The last variant of each loss, which has the most options: where many calls of one kind are made.
pub(crate) fn fullest(classes: usize) -> Vec<Named> {
    let last = |info: &LossInfo| Some((info.name.to_owned(), (info.variants)(classes).pop()?));
    LOSSES.iter().filter_map(last).collect()
}

/// The names of a loss' options, as the error for one that it does not know lists them.
pub(crate) fn option_names(info: &LossInfo) -> Vec<String> {
    let unknown = Options::from([("", OptionValue::Flag(true))]);
    match (info.from_options)(&unknown) {
        Err(Error::Value { expected, .. }) => expected.split('"').skip(1).step_by(2).map(str::to_owned).collect(),
        other => panic!("{other:?}"),
    }
}

/// The loss with a weight for each element of the input, if it takes them: different ones, one of them 0.
pub(crate) fn weighed(info: &LossInfo, shape: &[usize]) -> Option<Named> {
    let mut next = 0;
    let weight = ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        next = (next + 4) % 9;
        next as f32 * 0.375
    });
    let loss = (info.from_options)(&Options::from([("weight", weight.into())])).ok()?;
    lower(&*loss, &loss.example_inputs(shape, 1)).is_ok().then(|| (format!("{} (weight {shape:?})", info.name), loss))
}

/// Whether the loss is made of rows of classes, not of independent elements.
pub(crate) fn has_rows(loss: &dyn Loss, tensors: &OwnedTensors) -> bool {
    lower(loss, tensors).is_ok_and(|lowered| matches!(lowered.layout, Layout::Rows(_)))
}

/// Whether this is its loss' first or last variant.
pub(crate) fn is_first_or_last(loss: &dyn Loss, classes: usize) -> bool {
    let first = (loss.info().variants)(classes).into_iter().next();
    is_last(loss, classes) || first.is_some_and(|first| same_settings(&*first, loss))
}

/// Whether this is its loss' last variant.
pub(crate) fn is_last(loss: &dyn Loss, classes: usize) -> bool {
    (loss.info().variants)(classes).pop().is_some_and(|last| same_settings(&*last, loss))
}

/// Whether two losses are the same with the same options.
pub(crate) fn same_settings(a: &dyn Loss, b: &dyn Loss) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

/// Whether a boolean constant of the loss' kernel is set.
pub(crate) fn has_flag(loss: &dyn Loss, tensors: &OwnedTensors, flag: &str) -> bool {
    lower(loss, tensors).is_ok_and(|lowered| lowered.flags.contains(flag))
}

/// [`variants`] for a shape, whose classes are axis 1 (0 of the shape (C)); once more for weights of the last axis,
/// where element-wise losses broadcast them.
pub(crate) fn variants_of(shape: &[usize]) -> Vec<Named> {
    of_shape(shape, variants)
}

/// [`fullest`] for a shape, likewise.
pub(crate) fn fullest_of(shape: &[usize]) -> Vec<Named> {
    of_shape(shape, fullest)
}

fn of_shape(shape: &[usize], of: fn(usize) -> Vec<Named>) -> Vec<Named> {
    let classes = shape[usize::from(shape.len() > 1)];
    let last = shape[shape.len() - 1];
    let mut all = of(classes);
    if last != classes {
        let elements = |loss: &dyn Loss| !has_rows(loss, &loss.example_inputs(&[1, last], 1));
        let others = of(last).into_iter().filter(|(_, loss)| elements(&**loss));
        all.extend(others.map(|(name, loss)| (format!("{name} (last axis)"), loss)));
    }
    all
}

/// What the target of these tensors holds.
pub(crate) fn target_kind(tensors: &OwnedTensors) -> TargetKind {
    match tensors.target {
        OwnedTarget::Indices(_) => TargetKind::Indices,
        OwnedTarget::Values(_) => TargetKind::Values,
    }
}

/// The problem that these tensors are.
pub(crate) fn problem(tensors: &OwnedTensors, want: Want) -> Problem {
    tensors.view().wants(want).problem()
}

fn lower(loss: &dyn Loss, tensors: &OwnedTensors) -> Result<Lowered, Error> {
    loss.lower(&problem(tensors, Want::LOSS))
}

/// Shape of the loss, and of grad_output.
pub(crate) fn loss_shape(loss: &dyn Loss, tensors: &OwnedTensors) -> Result<Vec<usize>, Error> {
    Ok(lower(loss, tensors)?.loss_shape)
}

/// Shape of what there is one of per row, or item.
pub(crate) fn item_shape(loss: &dyn Loss, tensors: &OwnedTensors) -> Result<Vec<usize>, Error> {
    Ok(lower(loss, tensors)?.item_shape)
}

/// Items of the unreduced loss.
pub(crate) fn items(loss: &dyn Loss, tensors: &OwnedTensors) -> usize {
    lower(&*loss.with_reduction(Reduction::None), tensors).map_or(1, |lowered| lowered.items())
}

/// How the loss is reduced.
pub(crate) fn reduction(loss: &dyn Loss, tensors: &OwnedTensors) -> Reduction {
    lower(loss, tensors).map(|lowered| lowered.reduction).unwrap_or_default()
}

/// What differences in the output of this call are measured against.
pub(crate) fn scales(loss: &dyn Loss, tensors: &OwnedTensors) -> Scales {
    Scales::of(tensors, reduction(loss, tensors), items(loss, tensors))
}

/// The loss with every reduction that it has; none, mean and sum are among them.
pub(crate) fn reductions(loss: &dyn Loss, tensors: &OwnedTensors) -> Vec<(Reduction, Box<dyn Loss>)> {
    let accepted = |reduction| {
        let loss = loss.with_reduction(reduction);
        let accepted = lower(&*loss, tensors).is_ok();
        assert!(accepted || reduction == Reduction::BatchMean, "{loss:?} refuses {:?}", tensors.input.shape());
        accepted.then_some((reduction, loss))
    };
    [Reduction::None, Reduction::Mean, Reduction::Sum, Reduction::BatchMean].into_iter().filter_map(accepted).collect()
}

/// The gradients that the loss has for these tensors; that of the input always.
pub(crate) fn gradients(loss: &dyn Loss, tensors: &OwnedTensors) -> Vec<Want> {
    let accepts = |want| loss.lower(&problem(tensors, want)).is_ok();
    let target = target_kind(tensors) == TargetKind::Values && accepts(Want::GRAD_TARGET);
    let input2 = tensors.input2.is_some() && accepts(Want::GRAD_INPUT2);
    let others = [(Want::GRAD_TARGET, target), (Want::GRAD_INPUT2, input2)];
    [Want::GRAD].into_iter().chain(others.into_iter().filter_map(|(want, has)| has.then_some(want))).collect()
}

/// Everything that the loss can compute for these tensors.
pub(crate) fn everything(loss: &dyn Loss, tensors: &OwnedTensors) -> Want {
    gradients(loss, tensors).into_iter().fold(Want::LOSS, |all, want| all | want)
}

/// Outputs worth asking for: the loss alone, the gradient alone, each further gradient alone, and all at once.
pub(crate) fn wants(loss: &dyn Loss, tensors: &OwnedTensors) -> Vec<Want> {
    let mut wants = vec![Want::LOSS, Want::LOSS | Want::GRAD];
    wants.extend(gradients(loss, tensors));
    if !wants.contains(&everything(loss, tensors)) {
        wants.push(everything(loss, tensors));
    }
    wants
}

/// The tensors with an upstream gradient of the loss' shape: both signs, several magnitudes, a zero.
pub(crate) fn with_upstream(loss: &dyn Loss, tensors: &OwnedTensors) -> OwnedTensors {
    let mut tensors = tensors.clone();
    let shape = loss_shape(loss, &tensors).expect("a call that the loss accepts");
    let mut next = 0_i16;
    tensors.grad_output = Some(ArrayD::from_shape_simple_fn(IxDyn(&shape), || {
        next = (next + 3) % 8;
        f32::from(next - 4) * 0.75
    }));
    tensors
}

/// Typical tensors of this shape; `None` if the loss is not made for this number of dimensions, or its weights are of
/// another axis. Every loss takes (N, C).
pub(crate) fn example_inputs(loss: &dyn Loss, shape: &[usize], seed: u64) -> Option<OwnedTensors> {
    let tensors = loss.example_inputs(shape, seed);
    match lower(loss, &tensors) {
        Ok(_) => Some(tensors),
        Err(Error::Shape { argument: "input" | "weight" | "pos_weight", .. }) if shape.len() != 2 => None,
        // A variant with an axis of its own.
        Err(Error::Value { argument: "class_axis", .. }) if shape.len() != 2 => None,
        Err(error) => panic!("{loss:?} refuses {shape:?}: {error}"),
    }
}

/// Inputs (3, 1) and (4) of `MarginRanking`, which broadcast to its target (3, 4).
pub(crate) fn ranked_pairs() -> OwnedTensors {
    let values = |shape: &[usize]| {
        let mut next = 0.0;
        ArrayD::from_shape_simple_fn(IxDyn(shape), || {
            next = (next + 0.37_f32) % 2.0;
            next - 1.0
        })
    };
    let target = OwnedTarget::Values(values(&[3, 4]).mapv(|v| if v > 0.0 { 1.0 } else { -1.0 }));
    let mut tensors = OwnedTensors::new(values(&[3, 1]), target);
    tensors.input2 = Some(values(&[4]));
    tensors
}
