//! Runs a folder of golden cases through the public host API and compares. Format: tests/goldens/README.md.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{Context, Error, Evaluate, LOSSES, Loss, OptionValue, Options, Output, Want};
use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::ensure;

type Result<T> = std::result::Result<T, Box<dyn StdError>>;

/// A case fails when a value differs by more than this times the scale of its tensor (README of the goldens).
const TOLERANCE: f64 = 2e-6;

/// One case of the manifest with its tensors.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) op: String,
    pub(crate) tags: BTreeSet<String>,
    is_error: bool,
    options: Vec<(String, OptionValue)>,
    tensors: BTreeMap<String, Stored>,
}

#[derive(Clone)]
enum Stored {
    Float(ArrayD<f32>),
    Double(ArrayD<f64>),
    Index(ArrayD<i64>),
}

/// Reads every case of a folder, and of its folder `more`.
pub(crate) fn load(folder: &Path) -> Result<Vec<Case>> {
    let more = folder.join("more");
    let mut cases = load_one(folder)?;
    if more.is_dir() {
        cases.extend(load_one(&more)?);
    }
    Ok(cases)
}

fn load_one(folder: &Path) -> Result<Vec<Case>> {
    parse(|name| fs::read(folder.join(name)).map_err(|e| format!("{}: {e}", folder.join(name).display()).into()))
}

/// Reads every case of a folder whose files `read` gives by name.
pub(crate) fn parse(read: impl Fn(&str) -> Result<Vec<u8>>) -> Result<Vec<Case>> {
    let manifest: Value = serde_json::from_slice(&read("cases.json")?)?;
    let list = manifest["cases"].as_array().ok_or("cases.json: expected a list `cases`")?;
    let files: BTreeSet<&str> = list.iter().filter_map(|case| case["file"].as_str()).collect();
    let files = files.into_iter().map(|name| Ok((name, read(name)?))).collect::<Result<BTreeMap<_, _>>>()?;
    let stores = files
        .iter()
        .map(|(name, bytes)| Ok((*name, SafeTensors::deserialize(bytes).map_err(|e| format!("{name}: {e}"))?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    list.iter()
        .map(|case| {
            let file = case["file"].as_str().unwrap_or_default();
            let store = stores.get(file).ok_or_else(|| format!("{}: no file", case["id"]))?;
            read_case(case, store).map_err(|e| format!("{}: {e}", case["id"]).into())
        })
        .collect()
}

fn read_case(case: &Value, store: &SafeTensors<'_>) -> Result<Case> {
    let text = |name: &str| case[name].as_str().map(str::to_owned).ok_or_else(|| format!("no `{name}`"));
    let id = text("id")?;
    let options = case["options"].as_object().ok_or("no options")?.iter();
    let options = options
        .map(|(name, value)| {
            let value = match value {
                Value::Number(n) => OptionValue::Number(n.as_f64().ok_or("a number out of range")?),
                Value::String(word) => OptionValue::Text(word.clone()),
                Value::Bool(flag) => OptionValue::Flag(*flag),
                other => return Err(format!("option {name}: {other}").into()),
            };
            Ok((name.clone(), value))
        })
        .collect::<Result<Vec<_>>>()?;
    let names = case["tensors"].as_object().ok_or("no tensors")?.keys();
    let tensors = names
        .map(|name| Ok((name.clone(), read_tensor(store, &format!("{id}/{name}"))?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    let tags =
        case["tags"].as_array().into_iter().flatten().filter_map(|tag| tag.as_str().map(str::to_owned)).collect();
    Ok(Case { op: text("op")?, tags, is_error: !case["error"].is_null(), options, tensors, id })
}

fn read_tensor(store: &SafeTensors<'_>, name: &str) -> Result<Stored> {
    let tensor = store.tensor(name).map_err(|e| format!("{name}: {e}"))?;
    let (bytes, shape) = (tensor.data(), IxDyn(tensor.shape()));
    Ok(match tensor.dtype() {
        Dtype::F32 => Stored::Float(ArrayD::from_shape_vec(shape, bytemuck::pod_collect_to_vec(bytes))?),
        Dtype::F64 => Stored::Double(ArrayD::from_shape_vec(shape, bytemuck::pod_collect_to_vec(bytes))?),
        Dtype::I64 => Stored::Index(ArrayD::from_shape_vec(shape, bytemuck::pod_collect_to_vec(bytes))?),
        other => return Err(format!("{name}: dtype {other:?}").into()),
    })
}

impl Case {
    /// Changes one expected value; false if the case has no such tensor or element. To see that the judge notices.
    pub(crate) fn falsify(&mut self, name: &str, element: usize, change: impl FnOnce(f64) -> f64) -> bool {
        let Some(Stored::Double(values)) = self.tensors.get_mut(name) else { return false };
        let Some(value) = values.iter_mut().nth(element) else { return false };
        *value = change(*value);
        true
    }

    /// Turns a case with values into one that expects an error, or back.
    pub(crate) fn expect_error(&mut self, is_error: bool) {
        self.is_error = is_error;
    }

    /// Whether a deliberate difference from PyTorch may show in it.
    pub(crate) fn may_differ(&self) -> bool {
        DELIBERATE.iter().any(|difference| (difference.applies)(self))
    }

    /// Whether f32, in which the losses keep their options, holds this case's options as they are.
    pub(crate) fn has_exact_options(&self) -> bool {
        let exact = |value: &OptionValue| !matches!(value, OptionValue::Number(v) if f64::from(*v as f32) != *v);
        self.options.iter().all(|(_, value)| exact(value))
    }

    /// What the differences in an expected tensor are measured against; `None` if the case has no such tensor.
    pub(crate) fn scale(&self, name: &str) -> Option<f64> {
        self.expected(name).map(|expected| scale(self, name, expected))
    }

    fn float(&self, name: &str) -> Option<&ArrayD<f32>> {
        match self.tensors.get(name) {
            Some(Stored::Float(tensor)) => Some(tensor),
            _ => None,
        }
    }

    pub(crate) fn expected(&self, name: &str) -> Option<&ArrayD<f64>> {
        match self.tensors.get(name) {
            Some(Stored::Double(tensor)) => Some(tensor),
            _ => None,
        }
    }

    /// The loss with its options; `None` of an op that is not there.
    pub(crate) fn loss(&self) -> Option<std::result::Result<Box<dyn Loss>, Error>> {
        let info = LOSSES.iter().find(|info| info.name == self.op)?;
        let weights = ["weight", "pos_weight"].into_iter().filter_map(|name| {
            let tensor = self.float(name)?.clone();
            Some((name.to_owned(), tensor.into()))
        });
        Some((info.from_options)(&self.options.iter().cloned().chain(weights).collect::<Options>()))
    }

    /// What goes in.
    pub(crate) fn inputs(&self) -> OwnedTensors {
        let target = match self.tensors.get("target") {
            Some(Stored::Index(labels)) => OwnedTarget::Indices(labels.clone()),
            Some(Stored::Float(values)) => OwnedTarget::Values(values.clone()),
            Some(Stored::Double(_)) | None => panic!("{}: no target", self.id),
        };
        let input = self.float("input").unwrap_or_else(|| panic!("{}: no input", self.id));
        let mut inputs = OwnedTensors::new(input.clone(), target);
        inputs.input2 = self.float("input2").cloned();
        inputs.grad_output = self.float("grad_output").cloned();
        inputs
    }

    /// Hard labels without smoothing, nor options beyond PyTorch's: there `max rel` is bounded too, so these cases have
    /// rows of their own.
    fn hard_label_part(&self, part: &str) -> Option<&'static str> {
        let smooth = self.options.iter().any(|(name, v)| name == "label_smoothing" && *v != OptionValue::Number(0.0));
        let beyond = self.options.iter().any(|(name, _)| name == "temperature");
        let hard = matches!(self.tensors.get("target"), Some(Stored::Index(_))) && !smooth && !beyond;
        match part {
            "loss" if hard && self.op == "cross_entropy" => Some("loss (hard)"),
            "grad_input" if hard && self.op == "cross_entropy" => Some("grad_input (hard)"),
            _ => None,
        }
    }

    /// What must come out.
    pub(crate) fn want(&self) -> Want {
        let named =
            [("grad_input", Want::GRAD), ("grad_input2", Want::GRAD_INPUT2), ("grad_target", Want::GRAD_TARGET)];
        let wanted = named.into_iter().filter(|(name, _)| self.expected(name).is_some());
        wanted.fold(Want::LOSS, |all, (_, want)| all | want)
    }
}

/// Differences from PyTorch that are meant (docs of the losses), recognised by what the case holds, not by its name.
pub(crate) struct Deliberate {
    pub(crate) letter: char,
    pub(crate) reason: &'static str,
    applies: fn(&Case) -> bool,
}

pub(crate) const DELIBERATE: &[Deliberate] = &[
    Deliberate {
        letter: 'A',
        reason: "target probability 0 on a -inf logit contributes 0, where 0 * -inf is NaN in PyTorch",
        applies: |case| {
            let (Some(input), Some(target)) = (case.float("input"), case.float("target")) else { return false };
            case.op == "cross_entropy"
                && input.shape() == target.shape()
                && input.iter().zip(target).any(|(&x, &y)| x == f32::NEG_INFINITY && y == 0.0)
        },
    },
    Deliberate {
        letter: 'B',
        reason: "an ignored row's gradient is exactly 0 even where its logits are NaN",
        applies: |case| {
            let Some((_, OptionValue::Number(ignored))) = case.options.iter().find(|(name, _)| name == "ignore_index")
            else {
                return false;
            };
            let (Some(input), Some(Stored::Index(labels))) = (case.float("input"), case.tensors.get("target")) else {
                return false;
            };
            let axis = usize::from(input.ndim() > 1);
            input.ndim() == labels.ndim() + 1
                && input
                    .lanes(ndarray::Axis(axis))
                    .into_iter()
                    .zip(labels)
                    .any(|(row, &label)| label as f64 == *ignored && row.iter().any(|x| !x.is_finite()))
        },
    },
    Deliberate {
        letter: 'C',
        reason: "x = +-inf gives the limit where it exists, where PyTorch gives NaN",
        applies: |case| {
            ["binary_cross_entropy_with_logits", "sigmoid_focal_loss"].contains(&case.op.as_str())
                && case.float("input").is_some_and(|input| input.iter().any(|x| x.is_infinite()))
        },
    },
];

/// Whether a value that differs from the expected one in kind is what a deliberate difference makes of it.
fn deliberate(case: &Case, expected: f64, got: f32) -> bool {
    expected.is_nan() && !got.is_nan() && case.may_differ()
}

/// Statistics of one part (loss, grad_input ...) of one op.
#[derive(Default)]
pub(crate) struct Part {
    pub(crate) cases: usize,
    pub(crate) values: usize,
    pub(crate) max_abs: f64,
    pub(crate) max_rel: f64,
    ulps: Vec<f64>,
    norms: Vec<f64>,
    pub(crate) kind_differs: usize,
    pub(crate) deliberate: usize,
    pub(crate) failed: usize,
}

/// The outcome of a run.
#[derive(Default)]
pub(crate) struct Report {
    parts: BTreeMap<(String, &'static str), Part>,
    /// Case and reason.
    pub(crate) failures: Vec<(String, String)>,
}

/// Runs the cases of the chosen ops.
pub(crate) fn run(cases: &[Case], ctx: &Context, only: Option<&[String]>) -> Report {
    pollster::block_on(run_async(cases.iter().filter(|case| only.is_none_or(|ops| ops.contains(&case.op))), ctx))
}

/// Runs these cases where nothing may block.
pub(crate) async fn run_async(cases: impl Iterator<Item = &Case>, ctx: &Context) -> Report {
    let mut report = Report::default();
    for case in cases {
        let outcome = match case.loss() {
            Some(Ok(loss)) => loss.evaluate_async(ctx, &case.inputs().view().wants(case.want())).await,
            Some(Err(error)) => Err(error),
            None => Err(Error::device("this loss is not there")),
        };
        report.judge(case, outcome);
    }
    report
}

impl Report {
    /// Takes down what a case has come to.
    pub(crate) fn judge(&mut self, case: &Case, outcome: std::result::Result<Output, Error>) {
        if let Err(reason) = judge(case, outcome, self) {
            self.failures.push((case.id.clone(), reason));
        }
    }
}

fn judge(
    case: &Case,
    outcome: std::result::Result<Output, Error>,
    report: &mut Report,
) -> std::result::Result<(), String> {
    let key = |part| (case.op.clone(), part);
    if case.is_error {
        let part = report.parts.entry(key("errors")).or_default();
        part.cases += 1;
        return match outcome {
            Err(error) if error.is_invalid_input() => Ok(()),
            Err(error) => {
                part.failed += 1;
                Err(format!("expected a typed error about the input, got: {error}"))
            }
            Ok(_) => {
                part.failed += 1;
                Err("expected an error, got values".into())
            }
        };
    }
    let output = outcome.map_err(|error| {
        report.parts.entry(key("loss")).or_default().failed += 1;
        format!("unexpected error: {error}")
    })?;
    let mut reasons = String::new();
    for (name, got) in parts_of(&output) {
        if let Some(expected) = case.expected(name) {
            if let Some(subset) = case.hard_label_part(name) {
                // The same values once more, in a row of their own; whether they fail is decided below.
                let _ = compare(case, name, expected, got, report.parts.entry(key(subset)).or_default());
            }
            let part = report.parts.entry(key(name)).or_default();
            if let Err(reason) = compare(case, name, expected, got, part) {
                part.failed += 1;
                let _ = write!(reasons, "{}{name}: {reason}", if reasons.is_empty() { "" } else { "; " });
            }
        }
    }
    ensure(reasons.is_empty(), || reasons)
}

fn parts_of(output: &Output) -> [(&'static str, Option<&ArrayD<f32>>); 4] {
    [
        ("loss", output.loss.as_ref()),
        ("grad_input", output.grad_input.as_ref()),
        ("grad_input2", output.grad_input2.as_ref()),
        ("grad_target", output.grad_target.as_ref()),
    ]
}

fn compare(
    case: &Case,
    name: &str,
    expected: &ArrayD<f64>,
    got: Option<&ArrayD<f32>>,
    part: &mut Part,
) -> std::result::Result<(), String> {
    part.cases += 1;
    let got = got.ok_or("missing")?;
    if got.shape() != expected.shape() {
        return Err(format!("shape {:?}, expected {:?}", got.shape(), expected.shape()));
    }
    let scale = scale(case, name, expected);
    let largest = expected.iter().filter(|v| v.is_finite()).fold(0.0, |most: f64, v| most.max(v.abs()));
    let mut fault = None;
    let (mut square_error, mut square) = (0.0, 0.0);
    for (index, (&want, &have)) in expected.iter().zip(got).enumerate() {
        part.values += 1;
        let rounded = want as f32;
        if kind(rounded) != kind(have) {
            if deliberate(case, want, have) {
                part.deliberate += 1;
            } else {
                part.kind_differs += 1;
                fault.get_or_insert(format!("element {index} is {have:e}, expected {want:e}"));
            }
            continue;
        }
        if !rounded.is_finite() {
            continue;
        }
        // 1. of the README: an expected value is rounded to f32 first, so a perfect result has difference 0.
        let difference = (f64::from(have) - f64::from(rounded)).abs();
        part.max_abs = part.max_abs.max(difference);
        // The stored values are themselves right to 1e-16 of their tensor's largest only (README of the goldens).
        let certain = (difference - 1e-16 * largest).max(0.0);
        if rounded.abs() >= f32::MIN_POSITIVE {
            part.max_rel = part.max_rel.max(certain / f64::from(rounded.abs()));
        }
        part.ulps.push(certain / ulp(rounded));
        square_error += difference * difference;
        square += want * want;
        if difference > TOLERANCE * scale {
            fault.get_or_insert(format!("element {index} is {have:e}, expected {want:e}, scale {scale:e}"));
        }
    }
    if square > 0.0 && square.is_finite() {
        part.norms.push((square_error / square).sqrt());
    }
    fault.map_or(Ok(()), Err)
}

/// 2. of "Comparing a float32 result" in the README.
fn scale(case: &Case, name: &str, expected: &ArrayD<f64>) -> f64 {
    let largest = |values: &mut dyn Iterator<Item = f64>| {
        values.filter(|v| v.is_finite()).fold(0.0, |most: f64, v| most.max(v.abs()))
    };
    let most = largest(&mut expected.iter().copied());
    if case.tags.contains("near") {
        // The loss is judged by its own size, at 1e-5 of it; its gradients by theirs.
        return most * if name == "loss" { 1e-5 / TOLERANCE } else { 1.0 };
    }
    if name == "loss" {
        let logits = case.float("input").filter(|_| case.op == "cross_entropy");
        return most.max(1.0).max(largest(&mut logits.into_iter().flatten().map(|&x| f64::from(x))));
    }
    let reduction = case.options.iter().find(|(name, _)| name == "reduction").map(|(_, value)| value);
    let spread = matches!(reduction, Some(OptionValue::Text(word)) if word == "none" || word == "sum");
    let upstream = case.float("grad_output").filter(|_| spread);
    most.max(largest(&mut upstream.into_iter().flatten().map(|&x| f64::from(x))))
}

fn kind(x: f32) -> i8 {
    match x {
        x if x.is_nan() => 2,
        f32::INFINITY => 1,
        f32::NEG_INFINITY => -1,
        _ => 0,
    }
}

/// The distance of floats around `x`.
fn ulp(x: f32) -> f64 {
    let x = x.abs();
    f64::from(f32::from_bits(x.to_bits().min(f32::MAX.to_bits() - 1) + 1)) - f64::from(x.min(f32::MAX.next_down()))
}

impl Report {
    pub(crate) fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// Statistics of one part of one op, if it occurred.
    pub(crate) fn part(&self, op: &str, part: &str) -> Option<&Part> {
        self.parts.iter().find(|((o, p), _)| o == op && *p == part).map(|(_, part)| part)
    }

    /// One row per op and part, of the [`COLUMNS`].
    pub(crate) fn rows(&mut self) -> Vec<Vec<String>> {
        let percentile = |sorted: &[f64], p: f64| match sorted.len() {
            0 => 0.0,
            n => sorted[((n - 1) as f64 * p).round() as usize],
        };
        let plain = |ulps: f64| if ulps < 1e5 { format!("{ulps:.2}") } else { format!("{ulps:.1e}") };
        let rows = self.parts.iter_mut().map(|((op, name), part)| {
            part.ulps.sort_by(f64::total_cmp);
            part.norms.sort_by(f64::total_cmp);
            vec![
                op.clone(),
                (*name).to_owned(),
                part.cases.to_string(),
                part.values.to_string(),
                format!("{:.2e}", part.max_abs),
                format!("{:.2e}", part.max_rel),
                plain(percentile(&part.ulps, 0.5)),
                plain(percentile(&part.ulps, 0.99)),
                plain(percentile(&part.ulps, 1.0)),
                format!("{:.2e}", percentile(&part.norms, 0.5)),
                format!("{:.2e}", percentile(&part.norms, 1.0)),
                part.kind_differs.to_string(),
                part.deliberate.to_string(),
                part.failed.to_string(),
            ]
        });
        rows.collect()
    }

    /// For people: aligned columns.
    pub(crate) fn table(&mut self) -> String {
        let mut rows = vec![COLUMNS.map(str::to_owned).to_vec()];
        rows.extend(self.rows());
        let widths: Vec<usize> =
            (0..COLUMNS.len()).map(|c| rows.iter().map(|row| row[c].len()).max().unwrap_or(0)).collect();
        let mut text = String::new();
        for row in rows {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = if column < 2 { write!(text, "{cell:width$}  ") } else { write!(text, "{cell:>width$}  ") };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }
}

pub(crate) const COLUMNS: [&str; 14] = [
    "op",
    "part",
    "cases",
    "values",
    "max abs",
    "max rel",
    "median ULP",
    "p99 ULP",
    "max ULP",
    "median norm",
    "max norm",
    "kind differs",
    "deliberate",
    "failed",
];

/// The oracle passes its own judge: f64 on the CPU against the stored values. The largest difference relative to the
/// scale of its tensor, infinite if a value or an outcome differs in kind; `None` for a case of an op that is not
/// there.
pub(crate) fn oracle_error(case: &Case) -> Option<f64> {
    let loss = case.loss()?;
    let inputs = case.inputs().to_f64();
    let output = loss.and_then(|loss| loss.reference(&inputs.view().wants(case.want())));
    let Ok(output) = output else { return Some(if case.is_error { 0.0 } else { f64::INFINITY }) };
    if case.is_error {
        return Some(f64::INFINITY);
    }
    let parts = [
        ("loss", output.loss),
        ("grad_input", output.grad_input),
        ("grad_input2", output.grad_input2),
        ("grad_target", output.grad_target),
    ];
    let errors = parts.into_iter().filter_map(|(name, got)| {
        let expected = case.expected(name)?;
        let Some(got) = got.filter(|got| got.shape() == expected.shape()) else { return Some(f64::INFINITY) };
        let scale = scale(case, name, expected);
        let error = |(&e, &g): (&f64, &f64)| match (e.is_finite() && g.is_finite(), e == g || e.is_nan() && g.is_nan())
        {
            (true, _) if scale == 0.0 => (e - g).abs(),
            (true, _) => (e - g).abs() / scale,
            (false, true) => 0.0,
            // DELIBERATE: ours is a number where PyTorch's is NaN.
            (false, false) if deliberate(case, e, g as f32) => 0.0,
            (false, false) => f64::INFINITY,
        };
        Some(expected.iter().zip(&got).map(error).fold(0.0, f64::max))
    });
    errors.reduce(f64::max)
}
