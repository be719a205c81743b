//! Proves, on random calls over the product of all options, that GPU and CPU compute what the reference computes in f64, write nothing
//! but their outputs, and that a bad row changes no other. A call that fails is shrunk before it is shown.

use std::cell::Cell;

use deeploss::internals::{OwnedTarget, OwnedTensors, Rng};
use deeploss::{
    Context, Dtype, Error, Evaluate, LOSSES, Loss, LossInfo, OptionValue, Options, Output, RowStrategy, Want, Weight,
};
use ndarray::{ArrayD, Axis, IxDyn};
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use crate::support::compare::{TOLERANCE, bits, largest, outputs};
use crate::support::resident::Resident;
use crate::support::soak::{check, seeds};
use crate::support::values::round;
use crate::support::{cases, ensure, gpu, reason};

/// A random call, as numbers from which it is made.
#[derive(Debug, Clone)]
struct Call {
    loss: usize,
    options: Vec<(String, OptionValue)>,
    shape: Vec<usize>,
    /// Of the logits: their spread, what is added to all, and how many of sixteen are -inf, where the loss is a softmax.
    spread: f32,
    offset: f32,
    masked: usize,
    /// `grad_output`, `sample_weight`, `ignore_mask`, statistics: where the loss takes them.
    given: [bool; 4],
    /// The gradients that are wanted besides the loss, of those that the loss has.
    gradients: [bool; 3],
    dtypes: [Dtype; 2],
    strategy: Option<RowStrategy>,
    seed: u64,
}

// ---- Drawing --------------------------------------------------------------------------------------------------------

/// Values of the option of this name; multiples of powers of two where they decide on which side of a corner a score lies.
fn values_of(name: &str, shape: &[usize]) -> BoxedStrategy<OptionValue> {
    let numbers = |values: &[f64]| prop::sample::select(values.to_vec()).prop_map(OptionValue::Number).boxed();
    let words = |words: &'static [&'static str]| prop::sample::select(words).prop_map(OptionValue::from).boxed();
    let classes = shape[usize::from(shape.len() > 1)];
    match name {
        "reduction" => words(&["none", "mean", "sum", "batchmean"]),
        "direction" => words(&["forward", "reverse", "jsd"]),
        "on_empty" => numbers(&[0.0, -1.0]),
        "label_smoothing" => numbers(&[0.125, 0.5, 1.0, 0.1]),
        "z_loss" => numbers(&[1e-4, 0.01, 0.25]),
        "softcap" => numbers(&[30.0, 5.0, 1.0]),
        "temperature" => numbers(&[2.0, 0.5, 1.7, 0.25]),
        "beta" => numbers(&[0.5, 0.0, 1.0, 0.125]),
        "gamma" => numbers(&[2.0, 0.0, 1.0, 0.5, 3.5, 5.0]),
        "alpha" => numbers(&[0.25, -1.0, 0.0, 1.0]),
        "margin" => numbers(&[1.0, 0.0, -0.5, 2.25]),
        "p" => numbers(&[1.0, 2.0]),
        "class_axis" => numbers(&[1.0, 0.0, 2.0]),
        "ignore_index" => (0..classes).prop_map(|class| OptionValue::Number(class as f64)).boxed(),
        "ignore_indices" => prop::collection::vec(-2_i64..classes as i64, 0..4).prop_map(OptionValue::Integers).boxed(),
        "log_target" => any::<bool>().prop_map(OptionValue::Flag).boxed(),
        "weight" | "pos_weight" => {
            let weights = prop::collection::vec(prop::sample::select(vec![1.0_f32, 0.0, 0.25, 2.0, 3.5]), classes);
            weights.prop_map(|weights| OptionValue::Tensor(Weight::from(weights))).boxed()
        }
        other => panic!("nothing is known of the option {other}"),
    }
}

fn options(info: &'static LossInfo, shape: &[usize]) -> impl Strategy<Value = Vec<(String, OptionValue)>> + use<> {
    let each: Vec<_> = cases::option_names(info)
        .into_iter()
        .map(|name| {
            let weight = if name == "class_axis" { 0.1 } else { 0.4 };
            let named = values_of(&name, shape).prop_map(move |value| (name.clone(), value));
            prop::option::weighted(weight, named)
        })
        .collect();
    each.prop_map(|given| {
        let mut given: Vec<_> = given.into_iter().flatten().collect();
        if given.iter().any(|(name, _)| name == "ignore_index") {
            given.retain(|(name, _)| name != "ignore_indices");
        }
        given
    })
}

fn shape() -> impl Strategy<Value = Vec<usize>> {
    let classes = || prop_oneof![4 => 1_usize..12, 4 => 12_usize..80, 2 => 80_usize..300, 1 => 1000_usize..1300];
    prop_oneof![
        8 => (1_usize..6, classes()).prop_map(|(n, c)| vec![n, c]),
        1 => (60_usize..90, 1_usize..20).prop_map(|(n, c)| vec![n, c]),
        1 => classes().prop_map(|c| vec![c]),
        2 => (1_usize..4, 1_usize..40, 1_usize..6).prop_map(|(n, c, d)| vec![n, c, d]),
        1 => (0_usize..2, 1_usize..5).prop_map(|(n, c)| vec![n, c]),
    ]
}

fn strategies() -> impl Strategy<Value = Option<RowStrategy>> {
    let lanes = (prop::sample::select(vec![4_u32, 8, 16, 32, 64]), 0_u32..=8);
    let split = (prop::sample::select(vec![8_u32, 64]), 2_u32..6);
    prop_oneof![
        4 => Just(None),
        2 => Just(Some(RowStrategy::Thread)),
        1 => prop::sample::select(vec![1_u32, 2, 4]).prop_map(|rows| Some(RowStrategy::Tile { rows })),
        1 => Just(Some(RowStrategy::Staged)),
        2 => lanes.prop_map(|(lanes, held)| Some(RowStrategy::Lanes { lanes, held })),
        1 => split.prop_map(|(lanes, parts)| Some(RowStrategy::Split { lanes, parts })),
    ]
}

fn calls() -> impl Strategy<Value = Call> {
    let dtype = || prop_oneof![3 => Just(Dtype::F32), 1 => Just(Dtype::F16), 1 => Just(Dtype::Bf16)];
    let logits = (
        prop::sample::select(vec![1.0_f32, 4.0, 32.0]),
        prop_oneof![3 => Just(0.0_f32), 1 => Just(1024.0), 1 => Just(-4096.0)],
        prop_oneof![3 => Just(0_usize), 1 => Just(4), 1 => Just(14)],
    );
    (0..LOSSES.len(), shape()).prop_flat_map(move |(loss, shape)| {
        let given = [
            prop::bool::weighted(0.5),
            prop::bool::weighted(0.25),
            prop::bool::weighted(0.25),
            prop::bool::weighted(0.5),
        ];
        let wanted = [prop::bool::weighted(0.8), prop::bool::weighted(0.5), prop::bool::weighted(0.5)];
        let options = options(&LOSSES[loss], &shape);
        (options, logits.clone(), given, wanted, [dtype(), dtype()], strategies(), any::<u64>()).prop_map(
            move |(options, (spread, offset, masked), given, gradients, dtypes, strategy, seed)| Call {
                loss,
                options,
                shape: shape.clone(),
                spread,
                offset,
                masked,
                given,
                gradients,
                dtypes,
                strategy,
                seed,
            },
        )
    })
}

// ---- Making ---------------------------------------------------------------------------------------------------------

struct Made {
    loss: Box<dyn Loss>,
    tensors: OwnedTensors,
    want: Want,
}

impl Call {
    fn info(&self) -> &'static LossInfo {
        &LOSSES[self.loss]
    }

    /// The call; `None` if the loss is not made for this shape, or refuses what the options say together.
    fn make(&self) -> Option<Made> {
        let options: Options = self.options.iter().cloned().collect();
        let loss = (self.info().from_options)(&options).ok()?;
        let mut tensors = loss.example_inputs(&self.shape, self.seed);
        let mut rng = Rng::new(!self.seed);
        let is_softmax = ["cross_entropy", "softmax_focal_loss", "kl_from_logits"].contains(&self.info().name);
        let is_probability = self.info().name == "binary_cross_entropy";
        let [input_dtype, _] = self.dtypes;
        // Multiples of 1/64: sums and differences of scores and margins are exact, and equal ones are equal.
        tensors.input.iter_mut().for_each(|x| {
            if !is_probability {
                *x = (64.0 * (self.spread / 4.0) * *x).round() / 64.0 + self.offset;
            }
            *x = round(*x, input_dtype);
            if is_softmax && rng.below(16) < self.masked {
                *x = f32::NEG_INFINITY;
            }
        });
        let lower = |tensors: &OwnedTensors, want| loss.lower(&cases::problem(tensors, want));
        let items = lower(&tensors, Want::LOSS).ok()?.item_shape;
        let [grad_output, sample_weight, ignore_mask, stats] = self.given;
        if sample_weight {
            let weights = ArrayD::from_shape_simple_fn(IxDyn(&items), || [1.0, 0.0, 0.25, 2.0][rng.below(4)]);
            let with = OwnedTensors { sample_weight: Some(weights), ..tensors.clone() };
            tensors = if lower(&with, Want::LOSS).is_ok() { with } else { tensors };
        }
        if ignore_mask {
            for shape in [items.as_slice(), &self.shape] {
                let mask = ArrayD::from_shape_simple_fn(IxDyn(shape), || rng.below(4) == 0);
                let with = OwnedTensors { ignore_mask: Some(mask), ..tensors.clone() };
                if lower(&with, Want::LOSS).is_ok() && loss.reference(&with.to_f64().view().wants(Want::LOSS)).is_ok() {
                    tensors = with;
                    break;
                }
            }
        }
        if grad_output {
            tensors = cases::with_upstream(&*loss, &tensors);
        }
        let mut want = Want::LOSS;
        for (wanted, gradient) in self.gradients.into_iter().zip([Want::GRAD, Want::GRAD_INPUT2, Want::GRAD_TARGET]) {
            if wanted && lower(&tensors, want | gradient).is_ok() {
                want |= gradient;
            }
        }
        // Capped logits are equal in f32 where they are not in f64: the largest is another one.
        let capped = self.options.iter().any(|(name, _)| name == "softcap");
        if stats && !capped && lower(&tensors, want | Want::STATS).is_ok() {
            want |= Want::STATS;
        }
        // What a target of probabilities does to ignored indices, and the like.
        loss.reference(&tensors.to_f64().view().wants(want)).ok()?;
        Some(Made { loss, tensors, want })
    }

    /// On the GPU, by this call's strategy where it serves, in packed buffers whose guards are looked at.
    fn on_gpu(&self, ctx: &Context, made: &Made) -> Result<Output, String> {
        let Made { loss, tensors, want } = made;
        let [input, grad] = self.dtypes;
        let problem = cases::problem(tensors, *want).input_dtype(input).grad_dtype(grad);
        let prepared = match loss.prepare_with(ctx, &problem, self.strategy) {
            Err(Error::Unsupported { .. }) => loss.prepare(ctx, &problem),
            other => other,
        };
        let prepared = prepared.map_err(reason)?;
        let packed = Resident::packed_as(ctx, &**loss, tensors, *want, self.dtypes).map_err(reason)?;
        let output = packed.run(ctx, &prepared).map_err(reason)?;
        packed.check_guards(ctx).map(|()| output)
    }
}

// ---- Judging --------------------------------------------------------------------------------------------------------

/// A gradient that was stored in 16 bits, against the exact one: within half a unit of its last place, and the tolerance.
fn narrow_gradient(got: &ArrayD<f32>, exact: &ArrayD<f64>, dtype: Dtype, scale: f64) -> Result<(), String> {
    let (unit, least) = if dtype == Dtype::F16 { (4.9e-4, 3e-8) } else { (4e-3, 1e-38) };
    let allowed = TOLERANCE * largest(exact).max(scale);
    let wrong = got.iter().zip(exact).find(|&(&got, &exact)| {
        let (got, rounded) = (f64::from(got), f64::from(round(exact as f32, dtype)));
        let close = (got - exact).abs() <= unit * exact.abs() + least + allowed;
        !(close || got == rounded || got.is_nan() && exact.is_nan())
    });
    wrong.map_or(Ok(()), |(got, exact)| Err(format!("grad_input in {dtype:?}: {got:e}, expected {exact:e}")))
}

fn judge(made: &Made, mut got: Output, grad_dtype: Dtype) -> Result<(), String> {
    let Made { loss, tensors, want } = made;
    let mut exact = loss.reference(&tensors.to_f64().view().wants(*want)).map_err(reason)?;
    let scales = cases::scales(&**loss, tensors);
    if grad_dtype != Dtype::F32
        && let (Some(narrow), Some(exact)) = (got.grad_input.take(), exact.grad_input.take())
    {
        narrow_gradient(&narrow, &exact, grad_dtype, scales.grad)?;
    }
    outputs(&got, &exact, scales, TOLERANCE)
}

#[test]
fn every_call_computes_what_the_reference_computes() {
    let ctx = gpu();
    let (all, made) = (Cell::new(0), Cell::new(0));
    for seed in seeds() {
        check(seed, 40, &calls(), |call| {
            all.set(all.get() + 1);
            let Some(parts) = call.make() else { return Ok(()) };
            made.set(made.get() + 1);
            let on_cpu =
                parts.loss.evaluate(&Context::cpu(), &parts.tensors.view().wants(parts.want)).map_err(reason)?;
            judge(&parts, on_cpu, Dtype::F32).map_err(|reason| format!("cpu: {reason}"))?;
            let on_gpu = call.on_gpu(&ctx, &parts).map_err(|reason| format!("gpu: {reason}"))?;
            judge(&parts, on_gpu, call.dtypes[1]).map_err(|reason| format!("gpu: {reason}"))
        });
    }
    assert!(2 * made.get() > all.get(), "only {} of {} calls made sense", made.get(), all.get());
}

/// Rows of an unreduced loss, one of which is then spoilt: bits of all others are what they were.
#[test]
fn a_bad_row_changes_no_other() {
    let ctx = gpu();
    let spoilt = Cell::new(0);
    for seed in seeds() {
        check(seed, 32, &calls(), |call| {
            let call = Call { given: [call.given[0], call.given[1], call.given[2], false], ..call.clone() };
            let Some(mut made) = call.make() else { return Ok(()) };
            if made.tensors.input.ndim() != 2
                || made.tensors.input.shape()[0] < 2
                || !cases::has_rows(&*made.loss, &made.tensors)
            {
                return Ok(());
            }
            made.loss = made.loss.with_reduction(deeploss::Reduction::None);
            made.tensors.grad_output = None;
            if call.options.iter().any(|(name, value)| name == "class_axis" && *value != OptionValue::Number(1.0)) {
                return Ok(());
            }
            let bad = call.seed as usize % made.tensors.input.shape()[0];
            let mut other = Made {
                tensors: made.tensors.clone(),
                loss: made.loss.with_reduction(deeploss::Reduction::None),
                want: made.want,
            };
            let spoil = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -f32::MAX];
            let mut rng = Rng::new(call.seed ^ 5);
            other.tensors.input.index_axis_mut(Axis(0), bad).iter_mut().for_each(|x| *x = spoil[rng.below(5)]);
            if let OwnedTarget::Values(values) = &mut other.tensors.target {
                values.index_axis_mut(Axis(0), bad).iter_mut().for_each(|y| *y = spoil[rng.below(5)]);
            }
            spoilt.set(spoilt.get() + 1);
            let without = |output: Output| {
                let rest = |part: Option<ArrayD<f32>>| {
                    part.map(|mut values| {
                        values.index_axis_mut(Axis(0), bad).fill(0.0);
                        values
                    })
                };
                let Output { loss, grad_input, grad_input2, grad_target, .. } = output;
                bits(&Output {
                    loss: rest(loss),
                    grad_input: rest(grad_input),
                    grad_input2: rest(grad_input2),
                    grad_target: rest(grad_target),
                    stats: None,
                })
            };
            let on_cpu = |made: &Made| {
                made.loss.evaluate(&Context::cpu(), &made.tensors.view().wants(made.want)).map_err(reason)
            };
            ensure(without(on_cpu(&made)?) == without(on_cpu(&other)?), || "cpu: another row changed")?;
            ensure(
                without(call.on_gpu(&ctx, &made)?) == without(call.on_gpu(&ctx, &other)?),
                || "gpu: another row changed",
            )
        });
    }
    assert!(spoilt.get() > 3, "only {} rows were spoilt", spoilt.get());
}
