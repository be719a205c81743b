//! A call as the page writes it, and what is shown of it. The format is that of the guide's figures: `loss`, `input`, `target`, and
//! optionally `input2`, `sample_weight`, `options`, `reduction`; tensors are nested arrays of numbers, and of the words `inf`, `-inf`, `nan`.

use deeploss::internals::{Layout, OwnedTarget, OwnedTensors};
use deeploss::ndarray::{ArrayD, Axis, IxDyn, concatenate};
use deeploss::{
    Error, LOSSES, Loss, LossInfo, OptionKind, OptionValue, Options, Output, Problem, Reduction, TargetKind, Want,
};
use serde_json::{Value, json};

use crate::table::{Link, link};

/// A call of a loss on host arrays.
#[derive(Debug)]
pub struct Call {
    /// The loss' row of the table.
    pub info: &'static LossInfo,
    /// The loss with its options.
    pub loss: Box<dyn Loss>,
    /// What goes in.
    pub tensors: OwnedTensors,
    /// As the call gives them; for [`crate::code`].
    pub options: Vec<(String, OptionValue)>,
    /// Which number is moved along a curve, if one is.
    sweep: Option<Sweep>,
}

/// One number of the input, or of the second input, takes these values in turn; everything else stays.
#[derive(Debug)]
struct Sweep {
    second: bool,
    element: usize,
    values: Vec<f64>,
}

impl Call {
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(call: &Value) -> Result<Self, String> {
        let name = call["loss"].as_str().unwrap_or_default();
        let info =
            LOSSES.iter().find(|info| info.name == name).ok_or_else(|| format!("loss: no loss is called {name:?}"))?;
        let known = (info.options)();
        let given = call["options"].as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value));
        let reduction = Some(("reduction", &call["reduction"])).filter(|(_, word)| !word.is_null());
        let options = given.chain(reduction).map(|(name, value)| {
            let kind = known.iter().find(|option| option.name == name).map(|option| option.kind);
            Ok((name.to_owned(), option(value, kind).map_err(|e| format!("{name}: {e}"))?))
        });
        let options = options.collect::<Result<Vec<_>, String>>()?;
        let loss = (info.from_options)(&options.iter().cloned().collect()).map_err(|e| e.to_string())?;

        let tensor = |name: &str| tensor(&call[name]).map_err(|e| format!("{name}: {e}"));
        let optional = |name: &str| if call[name].is_null() { Ok(None) } else { tensor(name).map(Some) };
        let (input, target) = (tensor("input")?, tensor("target")?);
        let holds_indices =
            target.ndim() < input.ndim() || (target.shape() == input.shape() && takes_lists(&*loss, input.shape()));
        let target =
            if holds_indices { OwnedTarget::Indices(target.mapv(|v| v as i64)) } else { OwnedTarget::Values(target) };
        let mut tensors = OwnedTensors::new(input, target);
        tensors.input2 = optional("input2")?;
        tensors.sample_weight = optional("sample_weight")?;
        let sweep = Sweep::parse(&call["sweep"], &tensors)?;
        Ok(Self { info, loss, tensors, options, sweep })
    }

    /// Everything that a figure shows, as JSON: the loss, the losses of its rows or elements, gradients, probabilities, and the curve.
    /// `evaluate` is asked twice: for the call, and for its rows once more, unreduced, those of the curve below them.
    ///
    /// # Errors
    /// What the loss refuses, and what fails on the device.
    pub async fn answer(
        &self,
        evaluate: impl AsyncFn(&dyn Loss, &OwnedTensors, Want) -> Result<Output<f64>, Error>,
    ) -> Result<Value, Error> {
        let want = self.want();
        let whole = evaluate(&*self.loss, &self.tensors, want).await?;
        let (rows, curve) = self.beside();
        let unreduced = self.loss.with_reduction(Reduction::None);
        let single = evaluate(&*unreduced, &curve, want - Want::GRAD_TARGET).await?;
        let losses = single.loss.as_ref().map(|loss| loss.iter().copied().collect::<Vec<_>>()).unwrap_or_default();
        let items = losses.len() / curve.input.shape()[0] * rows;
        let numbers = |tensor: &Option<ArrayD<f64>>| tensor.as_ref().map(list);
        Ok(json!({
            "loss": numbers(&whole.loss),
            "items": list(&losses[..items]),
            "gradInput": numbers(&whole.grad_input),
            "gradInput2": numbers(&whole.grad_input2),
            "gradTarget": numbers(&whole.grad_target),
            "p": self.probabilities().as_ref().map(list),
            "curve": self.sweep.as_ref().map(|sweep| sweep.curve(&self.tensors, rows, &single)),
        }))
    }

    /// Loss and every gradient that the call has.
    fn want(&self) -> Want {
        let problem = |want| problem(&self.tensors, want);
        [Want::GRAD_INPUT2, Want::GRAD_TARGET]
            .into_iter()
            .filter(|&want| self.loss.lower(&problem(want)).is_ok())
            .fold(Want::LOSS | Want::GRAD, |all, want| all | want)
    }

    /// Rows of the call, with those of the curve below them, and how many the former are. A call of one dimension is one row.
    fn beside(&self) -> (usize, OwnedTensors) {
        let tensors = as_rows(&self.tensors);
        let rows = tensors.input.shape()[0];
        match &self.sweep {
            None => (rows, tensors),
            Some(sweep) => (rows, sweep.below(&tensors)),
        }
    }

    /// What the input says of probability, in f64; `None` where it does not.
    fn probabilities(&self) -> Option<ArrayD<f64>> {
        let number = |name: &str| {
            self.options.iter().find_map(|(option, value)| match value {
                OptionValue::Number(value) if option == name => Some(*value),
                _ => None,
            })
        };
        let (cap, temperature) = (number("softcap"), number("temperature").unwrap_or(1.0));
        let logit = |x: f32| {
            let x = f64::from(x);
            cap.map_or(x, |cap| cap * (x / cap).tanh()) / temperature
        };
        let input = &self.tensors.input;
        Some(match link(self.info) {
            Link::Softmax => {
                let mut p = input.mapv(logit);
                for mut row in p.lanes_mut(Axis(input.ndim() - 1)) {
                    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    row.mapv_inplace(|x| (x - most).exp());
                    let sum = row.sum();
                    row.mapv_inplace(|e| e / sum);
                }
                p
            }
            Link::Sigmoid => input.mapv(|x| 1.0 / (1.0 + (-logit(x)).exp())),
            Link::Log => input.mapv(|x| f64::from(x).exp()),
            Link::Identity => input.mapv(f64::from),
            Link::Score => return None,
        })
    }
}

impl Sweep {
    fn parse(sweep: &Value, tensors: &OwnedTensors) -> Result<Option<Self>, String> {
        if sweep.is_null() {
            return Ok(None);
        }
        let second = sweep["tensor"] == "input2";
        let moved = if second { tensors.input2.as_ref() } else { Some(&tensors.input) };
        let element = sweep["element"].as_u64().unwrap_or(u64::MAX) as usize;
        if moved.is_none_or(|moved| element >= moved.len()) {
            return Err(format!("sweep: there is no element {element}"));
        }
        let values =
            tensor(&sweep["values"]).map_err(|e| format!("sweep: {e}"))?.iter().map(|&v| f64::from(v)).collect();
        Ok(Some(Self { second, element, values }))
    }

    /// Where in the rows of a call the number stands.
    fn place(&self, tensors: &OwnedTensors) -> (usize, usize) {
        let width = tensors.input.shape()[tensors.input.ndim() - 1];
        (self.element / width, self.element % width)
    }

    /// The rows, and below them one for each value: the row of the number, with the value in its place.
    fn below(&self, tensors: &OwnedTensors) -> OwnedTensors {
        let (row, column) = self.place(tensors);
        let count = self.values.len();
        let mut below = OwnedTensors::new(
            extended(&tensors.input, row, count),
            match &tensors.target {
                OwnedTarget::Indices(labels) => OwnedTarget::Indices(extended(labels, row, count)),
                OwnedTarget::Values(values) => OwnedTarget::Values(extended(values, row, count)),
            },
        );
        below.input2 = tensors.input2.as_ref().map(|input2| extended(input2, row, count));
        below.sample_weight = tensors.sample_weight.as_ref().map(|weight| extended(weight, row, count));
        let rows = tensors.input.shape()[0];
        let moved = if self.second { below.input2.as_mut() } else { Some(&mut below.input) };
        if let Some(moved) = moved {
            for (k, &value) in self.values.iter().enumerate() {
                moved[[rows + k, column]] = value as f32;
            }
        }
        below
    }

    /// Loss and slope at each value.
    fn curve(&self, tensors: &OwnedTensors, rows: usize, single: &Output<f64>) -> Value {
        let (_, column) = self.place(tensors);
        let pick = |tensor: &Option<ArrayD<f64>>| {
            let Some(tensor) = tensor else { return Value::Null };
            let of = |k: usize| if tensor.ndim() == 1 { tensor[[rows + k]] } else { tensor[[rows + k, column]] };
            list((0..self.values.len()).map(of).collect::<Vec<_>>().iter())
        };
        let slope = if self.second { &single.grad_input2 } else { &single.grad_input };
        json!({ "x": list(&self.values), "loss": pick(&single.loss), "slope": pick(slope) })
    }
}

/// The rows of a tensor, and `count` times one of them below.
fn extended<T: Clone>(tensor: &ArrayD<T>, row: usize, count: usize) -> ArrayD<T> {
    let one = tensor.index_axis(Axis(0), row).insert_axis(Axis(0));
    let parts: Vec<_> = std::iter::once(tensor.view()).chain(std::iter::repeat_n(one, count)).collect();
    concatenate(Axis(0), &parts).expect("rows of one tensor have one shape")
}

/// A call of one dimension, as one row.
fn as_rows(tensors: &OwnedTensors) -> OwnedTensors {
    if tensors.input.ndim() > 1 {
        return tensors.clone();
    }
    fn row<T: Clone>(tensor: &ArrayD<T>) -> ArrayD<T> {
        tensor.clone().insert_axis(Axis(0))
    }
    let target = match &tensors.target {
        OwnedTarget::Indices(labels) => OwnedTarget::Indices(row(labels)),
        OwnedTarget::Values(values) => OwnedTarget::Values(row(values)),
    };
    let mut rows = OwnedTensors::new(row(&tensors.input), target);
    rows.input2 = tensors.input2.as_ref().map(row);
    rows.sample_weight = tensors.sample_weight.as_ref().map(row);
    rows
}

/// Whether targets of the input's shape are lists of labels.
pub(crate) fn takes_lists(loss: &dyn Loss, shape: &[usize]) -> bool {
    let problem = Problem::new(shape, TargetKind::Indices).target_shape(shape);
    loss.takes_class_indices() && loss.lower(&problem).is_ok()
}

fn problem(tensors: &OwnedTensors, want: Want) -> Problem {
    tensors.view().wants(want).problem()
}

/// Whether the loss is made of rows of classes, not of independent elements.
#[must_use]
pub fn has_rows(loss: &dyn Loss, tensors: &OwnedTensors) -> bool {
    loss.lower(&problem(tensors, Want::LOSS)).is_ok_and(|lowered| matches!(lowered.layout, Layout::Rows(_)))
}

/// A nested array of one shape.
fn tensor(value: &Value) -> Result<ArrayD<f32>, String> {
    fn walk(value: &Value, depth: usize, shape: &mut Vec<usize>, values: &mut Vec<f32>) -> Result<(), String> {
        let Some(list) = value.as_array() else {
            values.push(number(value)? as f32);
            return if depth == shape.len() { Ok(()) } else { Err("rows of different depth".into()) };
        };
        if values.is_empty() && depth == shape.len() {
            shape.push(list.len());
        }
        if shape.get(depth) != Some(&list.len()) {
            return Err("rows of different length".into());
        }
        list.iter().try_for_each(|value| walk(value, depth + 1, shape, values))
    }
    let (mut shape, mut values) = (Vec::new(), Vec::new());
    walk(value, 0, &mut shape, &mut values)?;
    ArrayD::from_shape_vec(IxDyn(&shape), values).map_err(|e| e.to_string())
}

fn number(value: &Value) -> Result<f64, String> {
    match value.as_str() {
        Some("inf") => Ok(f64::INFINITY),
        Some("-inf") => Ok(f64::NEG_INFINITY),
        Some("nan") => Ok(f64::NAN),
        _ => value.as_f64().ok_or_else(|| format!("expected a number, got {value}")),
    }
}

/// An option's value. What the loss does not know is passed on as it looks, for the loss to refuse.
fn option(value: &Value, kind: Option<OptionKind>) -> Result<OptionValue, String> {
    Ok(match (kind, value) {
        (_, Value::Bool(flag)) => (*flag).into(),
        (Some(OptionKind::Word(_)) | None, Value::String(word)) => word.as_str().into(),
        (Some(OptionKind::Tensor), value) => tensor(value)?.into(),
        (_, Value::Array(list)) => list.iter().filter_map(Value::as_i64).collect::<Vec<_>>().into(),
        (_, value) => number(value)?.into(),
    })
}

/// Numbers, and words where JSON has no number.
fn list<'a>(values: impl IntoIterator<Item = &'a f64>) -> Value {
    let value = |&v: &f64| match v {
        v if v.is_nan() => json!("nan"),
        f64::INFINITY => json!("inf"),
        f64::NEG_INFINITY => json!("-inf"),
        v => json!(v),
    };
    values.into_iter().map(value).collect()
}

/// The answer of the CPU reference in f64.
///
/// # Errors
/// As [`Call::answer`].
pub async fn reference(loss: &dyn Loss, tensors: &OwnedTensors, want: Want) -> Result<Output<f64>, Error> {
    use deeploss::Evaluate;
    loss.reference(&tensors.to_f64().view().wants(want))
}

/// An output of f32 in f64.
#[must_use]
pub fn wide(output: Output) -> Output<f64> {
    let wide = |tensor: Option<ArrayD<f32>>| tensor.map(|values| values.mapv(f64::from));
    Output {
        loss: wide(output.loss),
        grad_input: wide(output.grad_input),
        grad_input2: wide(output.grad_input2),
        grad_target: wide(output.grad_target),
        stats: None,
    }
}

/// An option's value in a program's options.
#[must_use]
pub fn options(pairs: &[(&str, OptionValue)]) -> Options {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}
