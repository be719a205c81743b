//! Small calls whose answers are known, for targets that execute: a part of the golden cases, and every loss, variant and storage
//! type against the reference in f64. Judged as the tests judge; what they share with the tests are the tests' own files.

use deeploss::half::{bf16, f16};
use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::ndarray::ArrayD;
use deeploss::{Context, Evaluate, Loss, Output, Reduction, Storage, Target, Tensors, Want};

use compare::TOLERANCE;
use conformance::Case as Golden;

#[path = "../../../tests/support/cases.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod calls;
#[path = "../../../tests/support/compare.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod compare;
#[path = "../../../tests/support/conformance.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod conformance;

/// What must hold, and what to say if it does not.
fn ensure<R: Into<String>>(holds: bool, otherwise: impl FnOnce() -> R) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}

/// One call.
pub(crate) struct Case {
    pub(crate) loss: &'static str,
    pub(crate) what: String,
    kind: Kind,
}

enum Kind {
    Golden(Box<Golden>),
    /// Against f64, in the storage type.
    Reference {
        loss: Box<dyn Loss>,
        shape: Vec<usize>,
        storage: Stored,
    },
}

#[derive(Debug, Clone, Copy)]
enum Stored {
    F32,
    F16,
    Bf16,
}

/// Every so many golden cases of a loss are taken.
const GOLDEN_STEP: usize = 16;
/// Of the variants: few classes, and rows that a group of lanes shares.
const SHAPES: [&[usize]; 2] = [&[3, 5], &[2, 101]];

/// All cases, the same in every process.
pub(crate) fn collect() -> Result<Vec<Case>, String> {
    let folder = crate::root().join("tests/goldens");
    let goldens = conformance::load(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut all = Vec::new();
    for info in deeploss::LOSSES {
        let own = goldens.iter().filter(|case| case.op == info.name).step_by(GOLDEN_STEP);
        all.extend(own.map(|case| Case {
            loss: info.name,
            what: case.id.clone(),
            kind: Kind::Golden(Box::new(case.clone())),
        }));
        for shape in SHAPES {
            let variants = (info.variants)(shape[1]);
            let last = variants.len() - 1;
            for (number, loss) in variants.into_iter().enumerate() {
                // Storage is the same to every variant.
                let storages: &[Stored] =
                    if number == last { &[Stored::F32, Stored::F16, Stored::Bf16] } else { &[Stored::F32] };
                for &storage in storages {
                    all.push(Case {
                        loss: info.name,
                        what: format!("{loss:?} {shape:?} {storage:?}"),
                        kind: Kind::Reference {
                            loss: loss.with_reduction(REDUCTIONS[number % 2]),
                            shape: shape.into(),
                            storage,
                        },
                    });
                }
            }
        }
    }
    Ok(all)
}

const REDUCTIONS: [Reduction; 2] = [Reduction::None, Reduction::Mean];

impl Case {
    /// What is wrong with the device's answer.
    pub(crate) fn run(&self, ctx: &Context) -> Result<(), String> {
        match &self.kind {
            Kind::Golden(case) => {
                let report = conformance::run(std::slice::from_ref(&**case), ctx, None);
                report.failures.first().map_or(Ok(()), |(_, reason)| Err(reason.clone()))
            }
            Kind::Reference { loss, shape, storage } => {
                let tensors = calls::example_inputs(&**loss, shape, 11).ok_or("no such inputs")?;
                let tensors = calls::with_upstream(&**loss, &tensors);
                match storage {
                    Stored::F32 => against_f64::<f32>(&**loss, ctx, tensors, 0.0),
                    // Half a unit in the last place.
                    Stored::F16 => against_f64::<f16>(&**loss, ctx, tensors, 2.0_f64.powi(-11)),
                    Stored::Bf16 => against_f64::<bf16>(&**loss, ctx, tensors, 2.0_f64.powi(-8)),
                }
            }
        }
    }
}

/// Conversions of a storage type.
trait Number: Storage + deeploss::Element<Scalar = f32> {
    fn of(value: f32) -> Self;
    fn wide(self) -> f32;
}

impl Number for f32 {
    fn of(value: f32) -> Self {
        value
    }
    fn wide(self) -> f32 {
        self
    }
}

impl Number for f16 {
    fn of(value: f32) -> Self {
        Self::from_f32(value)
    }
    fn wide(self) -> f32 {
        self.to_f32()
    }
}

impl Number for bf16 {
    fn of(value: f32) -> Self {
        Self::from_f32(value)
    }
    fn wide(self) -> f32 {
        self.to_f32()
    }
}

/// The call in a storage type, on inputs that it holds exactly. `spacing`: the relative error of a stored gradient.
fn against_f64<X: Number>(
    loss: &dyn Loss,
    ctx: &Context,
    mut tensors: OwnedTensors,
    spacing: f64,
) -> Result<(), String> {
    tensors.input.mapv_inplace(|value| X::of(value).wide());
    let want = calls::everything(loss, &tensors);
    let oracle = loss.reference(&tensors.to_f64().view().wants(want)).map_err(|e| e.to_string())?;
    let input = tensors.input.mapv(X::of);
    let got = loss.evaluate(ctx, &stored(&input, &tensors, want)).map_err(|e| e.to_string())?;
    let scales = calls::scales(loss, &tensors);
    let mut expected = oracle;
    let grad_input = got.grad_input.map(|gradient| gradient.mapv(X::wide));
    if spacing > 0.0
        && let (Some(got), Some(exact)) = (&grad_input, expected.grad_input.take())
    {
        near(got, &exact, spacing, TOLERANCE * scales.grad)?;
        expected.grad_input = Some(got.mapv(f64::from));
    }
    let got = Output {
        loss: got.loss,
        grad_input,
        grad_input2: got.grad_input2,
        grad_target: got.grad_target,
        stats: got.stats,
    };
    compare::outputs(&got, &expected, scales, TOLERANCE)
}

/// The call's tensors with this input in place of theirs.
fn stored<'a, X: Number>(input: &'a ArrayD<X>, tensors: &'a OwnedTensors, want: Want) -> Tensors<'a, X> {
    let target: Target<'_> = match &tensors.target {
        OwnedTarget::Indices(indices) => indices.view().into(),
        OwnedTarget::Values(values) => values.view().into(),
    };
    let mut call = Tensors::new(input.view(), target).wants(want);
    if let Some(second) = &tensors.input2 {
        call = call.input2(second.view());
    }
    if let Some(upstream) = &tensors.grad_output {
        call = call.grad_output(upstream.view());
    }
    call
}

/// Every element within a relative error or an absolute one.
fn near(got: &ArrayD<f32>, expected: &ArrayD<f64>, relative: f64, absolute: f64) -> Result<(), String> {
    let differs = |(&got, &expected): (&f32, &f64)| {
        let (got, allowed) = (f64::from(got), relative * expected.abs() + absolute);
        !((got - expected).abs() <= allowed || got == expected || (got.is_nan() && expected.is_nan()))
    };
    let place = got.iter().zip(expected).position(differs);
    ensure(got.shape() == expected.shape() && place.is_none(), || format!("grad_input differs at element {place:?}"))
}
