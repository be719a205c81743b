//! Calls made from the table of losses: nothing here knows a loss by its type.

use deeploss::internals::{Layout, OwnedTarget};
use deeploss::ndarray::ArrayD;
use deeploss::{Dtype, LOSSES, Loss, LossInfo, Options, Problem, Reduction, TargetKind, Want};

/// Outputs by name.
pub const WANTS: &[(&str, Want)] = &[
    ("loss", Want::LOSS),
    ("grad", Want::GRAD),
    ("grad_input2", Want::GRAD_INPUT2),
    ("grad_target", Want::GRAD_TARGET),
    ("stats", Want::STATS),
];

/// Reductions by name.
pub const REDUCTIONS: &[(&str, Reduction)] = &[
    ("mean", Reduction::Mean),
    ("sum", Reduction::Sum),
    ("none", Reduction::None),
    ("batchmean", Reduction::BatchMean),
];

/// Storage types by name.
pub const DTYPES: &[(&str, Dtype)] = &[("f32", Dtype::F32), ("f16", Dtype::F16), ("bf16", Dtype::Bf16)];

/// What the loss' target holds.
#[must_use]
pub fn target_kind(loss: &dyn Loss) -> TargetKind {
    match loss.example_inputs(&[2, 4], 1).target {
        OwnedTarget::Indices(_) => TargetKind::Indices,
        OwnedTarget::Values(_) => TargetKind::Values,
    }
}

/// Whether the loss is made of independent elements, not of rows of classes.
#[must_use]
pub fn is_element_wise(loss: &dyn Loss) -> bool {
    let problem = Problem::new(&[2, 4], target_kind(loss));
    loss.lower(&problem).is_ok_and(|lowered| matches!(lowered.layout, Layout::Items(_)))
}

/// The variants of a loss for inputs of this shape, whose classes are axis 1. Weights of elements broadcast along the last axis, but for
/// those of the last variant, which have the input's shape.
#[must_use]
pub fn variants(info: &LossInfo, shape: &[usize]) -> Vec<Box<dyn Loss>> {
    let (classes, last) = (shape[usize::from(shape.len() > 1)], shape[shape.len() - 1]);
    let mut all = (info.variants)(classes);
    if classes != last && all.first().is_some_and(|loss| is_element_wise(&**loss)) {
        all = (info.variants)(last);
    }
    all.extend(weighed(info, shape));
    all
}

/// The loss with a weight for each element of the input, if it takes them.
fn weighed(info: &LossInfo, shape: &[usize]) -> Option<Box<dyn Loss>> {
    let weight = ArrayD::<f32>::ones(shape).into();
    let loss = (info.from_options)(&Options::from([("weight", weight)])).ok()?;
    loss.lower(&Problem::new(shape, target_kind(&*loss))).is_ok().then_some(loss)
}

/// The loss of this name.
///
/// # Errors
/// The names that there are.
pub fn loss_named(name: &str) -> Result<&'static LossInfo, String> {
    LOSSES.iter().find(|info| info.name == name).ok_or_else(|| {
        let names: Vec<_> = LOSSES.iter().map(|info| info.name).collect();
        format!("loss: expected {}, got `{name}`", names.join(", "))
    })
}

/// The value of this name.
///
/// # Errors
/// The names that there are, for the argument `what`.
pub fn named<T: Copy>(what: &str, table: &[(&str, T)], name: &str) -> Result<T, String> {
    table.iter().find(|(known, _)| *known == name).map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
        format!("{what}: expected {}, got `{name}`", names.join(", "))
    })
}

/// The name of a value.
#[must_use]
pub fn name_of<T: PartialEq>(table: &[(&'static str, T)], value: &T) -> &'static str {
    table.iter().find(|(_, known)| known == value).map_or("?", |(name, _)| name)
}

/// `loss+grad`.
#[must_use]
pub fn want_text(want: Want) -> String {
    let names: Vec<_> = WANTS.iter().filter(|(_, one)| want.contains(*one)).map(|(name, _)| *name).collect();
    names.join("+")
}

/// `8x21x64x64`.
#[must_use]
pub fn shape_text(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}
