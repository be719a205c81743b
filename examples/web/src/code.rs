//! The same call as a program, for people to copy: in Rust with host arrays, in Rust with GPU buffers, and in PyTorch.

use deeploss::internals::OwnedTarget;
use deeploss::ndarray::ArrayD;
use deeploss::{OptionValue, Weight};

use crate::call::{Call, has_rows};

/// Three programs of one call.
#[derive(Debug)]
pub struct Programs {
    /// The loss with its options, in one line of Rust.
    pub line: String,
    /// Rust, arrays in and arrays out.
    pub arrays: String,
    /// Rust, dispatches on the caller's encoder.
    pub buffers: String,
    /// Python.
    pub pytorch: String,
}

impl Programs {
    /// Those of a call. Options at their default are left out.
    #[must_use]
    pub fn of(call: &Call) -> Self {
        let known = (call.info.options)();
        let default =
            |name: &str| known.iter().find(|option| option.name == name).and_then(|option| option.default.clone());
        let chosen: Vec<_> =
            call.options.iter().filter(|(name, value)| default(name).as_ref() != Some(value)).collect();
        let writer = Writer { call, chosen: &chosen };
        Self { line: writer.builder(), arrays: writer.arrays(), buffers: writer.buffers(), pytorch: writer.pytorch() }
    }
}

struct Writer<'a> {
    call: &'a Call,
    chosen: &'a [&'a (String, OptionValue)],
}

impl Writer<'_> {
    fn option(&self, name: &str) -> Option<&OptionValue> {
        self.chosen.iter().find(|(option, _)| option == name).map(|(_, value)| value)
    }

    fn number(&self, name: &str) -> Option<f64> {
        match self.option(name) {
            Some(OptionValue::Number(value)) => Some(*value),
            _ => None,
        }
    }

    fn reduction(&self) -> &str {
        match self.option("reduction") {
            Some(OptionValue::Text(word)) => word,
            _ => "mean",
        }
    }

    /// The loss with its builder methods.
    fn builder(&self) -> String {
        let mut text = format!("{}::new()", self.call.info.type_name);
        for (name, value) in self.chosen {
            let argument = match (name.as_str(), value) {
                // The weight of the Jensen-Shannon divergence stands in its direction.
                ("beta", _) => continue,
                ("direction", OptionValue::Text(word)) => match word.as_str() {
                    "jsd" => format!("Direction::Jsd({})", rust(self.number("beta").unwrap_or(0.5))),
                    word => format!("Direction::{}", title(word)),
                },
                ("reduction", OptionValue::Text(word)) => {
                    format!("Reduction::{}", if word == "batchmean" { "BatchMean".into() } else { title(word) })
                }
                ("ignore_index" | "p", OptionValue::Number(value)) => format!("{value}"),
                (_, OptionValue::Number(value)) => rust(*value),
                (_, OptionValue::Flag(flag)) => flag.to_string(),
                (_, OptionValue::Integers(list)) => format!("{list:?}"),
                (_, OptionValue::Tensor(weight)) => match weight.shape() {
                    [] => rust(f64::from(weight.values()[0])),
                    [_] => format!("[{}]", joined(weight.values(), rust)),
                    shape => format!("array!{}", nested(shape, weight.values(), &|&v| rust(f64::from(v)))),
                },
                _ => continue,
            };
            text += &format!(".{name}({argument})");
        }
        text
    }

    /// What the builder's arguments need.
    fn imports(&self, others: &[&str]) -> String {
        let mut names = vec![self.call.info.type_name];
        names.extend(others);
        names.extend(self.option("direction").map(|_| "Direction"));
        names.extend(self.option("reduction").map(|_| "Reduction"));
        names.sort_unstable();
        format!("use deeploss::{{{}}};\n", names.join(", "))
    }

    fn names(&self) -> [&'static str; 2] {
        match crate::table::link(self.call.info) {
            crate::table::Link::Softmax | crate::table::Link::Sigmoid => ["logits", "targets"],
            crate::table::Link::Log => ["log_probs", "targets"],
            crate::table::Link::Identity => ["probs", "targets"],
            crate::table::Link::Score => ["scores", "targets"],
        }
    }

    fn arrays(&self) -> String {
        let [input, target] = self.names();
        let tensors = &self.call.tensors;
        let mut text = String::from("use deeploss::ndarray::array;\n");
        text += &self.imports(&["Context", "Evaluate", "Tensors"]);
        text += "\nlet ctx = Context::new_or_cpu();\n";
        text += &format!("let loss = {};\n", self.builder());
        text += &format!("let {input} = {};\n", array(&tensors.input));
        if let Some(input2) = &tensors.input2 {
            text += &format!("let others = {};\n", array(input2));
        }
        text += &match &tensors.target {
            OwnedTarget::Indices(labels) => {
                let values: Vec<_> = labels.iter().copied().collect();
                format!("let {target} = array!{};\n", nested(labels.shape(), &values, &i64::to_string))
            }
            OwnedTarget::Values(values) => format!("let {target} = {};\n", array(values)),
        };
        let mut views = format!("Tensors::new({input}.view(), {target}.view())");
        if tensors.input2.is_some() {
            views += ".input2(others.view())";
        }
        if let Some(weight) = &tensors.sample_weight {
            text += &format!("let row_weights = {};\n", array(weight));
            views += ".sample_weight(row_weights.view())";
        }
        text += &format!("\nlet out = loss.evaluate(&ctx, &{views})?;\n");
        text += "println!(\"loss {}\", out.loss.unwrap());\n";
        text + "println!(\"gradient {}\", out.grad_input.unwrap());\n"
    }

    fn buffers(&self) -> String {
        let [input, target] = self.names();
        let tensors = &self.call.tensors;
        let holds_values = matches!(tensors.target, OwnedTarget::Values(_));
        let mut names = vec!["Buffers", "Context", "Evaluate", "Problem"];
        let problem = match (tensors.input.shape(), holds_values) {
            ([rows, classes], false) if has_rows(&*self.call.loss, tensors) && self.has_one_label() => {
                format!("Problem::rows({rows}, {classes})")
            }
            (shape, _) => {
                names.push("TargetKind");
                format!("Problem::new(&{shape:?}, TargetKind::{})", if holds_values { "Values" } else { "Indices" })
            }
        };
        let mut calls = String::new();
        let mut fields = vec![("input", input), ("target", target)];
        if let Some(input2) = &tensors.input2 {
            calls += &format!(".input2_shape(&{:?})", input2.shape());
            fields.push(("input2", "others"));
        }
        if !self.has_one_label() {
            calls += &format!(".target_shape(&{:?})", self.target_shape());
        }
        if tensors.sample_weight.is_some() {
            calls += ".with_sample_weight()";
            fields.push(("sample_weight", "row_weights"));
        }
        fields.extend([("loss", "loss"), ("grad_input", "grad")]);
        let builder = self.builder();
        let mut text =
            if builder.contains("array!") { "use deeploss::ndarray::array;\n".to_owned() } else { String::new() };
        text += &self.imports(&names);
        text += "\n// Once per shape.\n";
        text += &format!("let problem = {problem}{calls};\nlet prepared = {builder}.prepare(&ctx, &problem)?;\n");
        text += "\n// Every step: dispatches on your encoder, in your buffers. You submit.\nprepared.record(&mut encoder, &Buffers {\n";
        for (field, buffer) in fields {
            text += &format!("    {field}: Some({buffer}.as_entire_buffer_binding()),\n");
        }
        text + "    ..Default::default()\n})?;\n"
    }

    fn target_shape(&self) -> Vec<usize> {
        match &self.call.tensors.target {
            OwnedTarget::Indices(labels) => labels.shape().to_vec(),
            OwnedTarget::Values(values) => values.shape().to_vec(),
        }
    }

    /// Whether the target has the shape that a problem assumes: one label per row, or one value per element.
    fn has_one_label(&self) -> bool {
        let shape = self.call.tensors.input.shape();
        match &self.call.tensors.target {
            OwnedTarget::Indices(labels) => labels.ndim() < shape.len(),
            OwnedTarget::Values(values) => values.shape() == shape,
        }
    }

    fn pytorch(&self) -> String {
        let tensors = &self.call.tensors;
        let info = self.call.info;
        let mut text = String::from("import torch\nimport torch.nn.functional as F\n");
        if info.pytorch.starts_with("torchvision") {
            text += "from torchvision.ops import sigmoid_focal_loss\n";
        }
        text += &format!("\nx = torch.tensor({}, requires_grad=True)\n", python(&tensors.input));
        if let Some(input2) = &tensors.input2 {
            text += &format!("x2 = torch.tensor({})\n", python(input2));
        }
        text += &match &tensors.target {
            OwnedTarget::Indices(labels) => {
                let values: Vec<_> = labels.iter().copied().collect();
                format!("t = torch.tensor({})\n", nested(labels.shape(), &values, &i64::to_string))
            }
            OwnedTarget::Values(values) => format!("t = torch.tensor({})\n", python(values)),
        };
        if let Some(OptionValue::Tensor(weight)) = self.option("weight") {
            text += &format!("w = torch.tensor({})\n", python_weight(weight));
        }
        if let Some(OptionValue::Tensor(weight)) = self.option("pos_weight") {
            text += &format!("p = torch.tensor({})\n", python_weight(weight));
        }
        if let Some(weight) = &tensors.sample_weight {
            text += &format!("s = torch.tensor({})\n", python(weight));
        }
        text += &self.before();
        text += &self.expression();
        text + "loss.sum().backward()\nprint(loss, x.grad)\n"
    }

    /// What the logits go through first; PyTorch has no option for it.
    fn before(&self) -> String {
        let mut text = String::new();
        if self.call.info.name == "cross_entropy" {
            if let Some(cap) = self.number("softcap") {
                text += &format!("z = {cap} * torch.tanh(x / {cap})\n");
            }
            if let Some(t) = self.number("temperature") {
                text += &format!("z = {} / {t}\n", if text.is_empty() { "x" } else { "z" });
            }
        }
        if self.call.info.name == "binary_cross_entropy_with_logits"
            && let Some(e) = self.number("label_smoothing")
        {
            text += &format!("t = (1 - {e}) * t + {e} / 2\n");
        }
        text
    }

    fn expression(&self) -> String {
        let (info, reduction) = (self.call.info, self.reduction());
        let reduced = if reduction == "none" { String::new() } else { format!(".{reduction}()") };
        let number = |name: &str, default: f64| self.number(name).unwrap_or(default).to_string();
        if info.pytorch.starts_with("torch") {
            return self.call_of_pytorch();
        }
        let class = "t[:, None]";
        match info.name {
            "hinge_loss" => format!("loss = F.relu({} - t * x){reduced}\n", number("margin", 1.0)),
            "squared_hinge_loss" => format!("loss = F.relu({} - t * x).square(){reduced}\n", number("margin", 1.0)),
            "crammer_singer_loss" => format!(
                "true = x.gather(1, {class})\nrival = x.scatter(1, {class}, -torch.inf).amax(1, keepdim=True)\nloss = F.relu({} - true + rival)[:, 0]{reduced}\n",
                number("margin", 1.0)
            ),
            "kl_from_logits" => self.divergence(&reduced),
            _ => {
                let (gamma, smoothing) = (number("gamma", 2.0), self.number("label_smoothing").unwrap_or(0.0));
                let mut text = String::from("log_p = F.log_softmax(x, 1)\nq = F.one_hot(t.clamp(min=0), x.shape[1])\n");
                if smoothing > 0.0 {
                    text += &format!("q = (1 - {smoothing}) * q + {smoothing} / x.shape[1]\n");
                }
                let weight = if self.option("weight").is_some() { "w * " } else { "" };
                text += &format!("loss = -({weight}q * (1 - log_p.exp()) ** {gamma} * log_p).sum(1)\n");
                text += &format!("loss = loss[t != {}]", number("ignore_index", -100.0));
                text + &reduced + "\n"
            }
        }
    }

    fn divergence(&self, reduced: &str) -> String {
        let t = self.number("temperature").unwrap_or(1.0);
        let beta = self.number("beta").unwrap_or(0.5);
        let head = format!("student, teacher = F.log_softmax(x / {t}, 1), F.log_softmax(t / {t}, 1)\n");
        let kl = |from: &str, to: &str| format!("F.kl_div({from}, {to}, log_target=True, reduction='none')");
        let sum = match self.option("direction") {
            Some(OptionValue::Text(word)) if word == "reverse" => kl("teacher", "student"),
            Some(OptionValue::Text(word)) if word == "jsd" => {
                let mix = format!("mix = ({beta} * teacher.exp() + (1 - {beta}) * student.exp()).log()\n");
                let sum = format!("({beta} * {} + (1 - {beta}) * {})", kl("mix", "teacher"), kl("mix", "student"));
                return format!("{head}{mix}loss = ({t} ** 2 * {sum}).sum(1){reduced}\n");
            }
            _ => kl("student", "teacher"),
        };
        format!("{head}loss = ({t} ** 2 * {sum}).sum(1){reduced}\n")
    }

    /// PyTorch's function of the name, and what it lacks around it.
    fn call_of_pytorch(&self) -> String {
        let info = self.call.info;
        let is_torchvision = info.pytorch.starts_with("torchvision");
        let mut arguments = vec![if self.before().starts_with("z =") { "z" } else { "x" }.to_owned()];
        arguments.extend(self.call.tensors.input2.as_ref().map(|_| "x2".to_owned()));
        arguments.push("t".into());
        // A weight per row multiplies before the mean.
        let weighs_rows = self.call.tensors.sample_weight.is_some();
        let ours = ["z_loss", "softcap", "temperature"];
        for (name, value) in self.chosen {
            let value = match value {
                _ if ours.contains(&name.as_str()) || name == "reduction" => continue,
                _ if name == "label_smoothing" && info.name != "cross_entropy" => continue,
                OptionValue::Number(value) => value.to_string(),
                OptionValue::Flag(flag) => if *flag { "True" } else { "False" }.to_owned(),
                OptionValue::Tensor(_) => if name == "weight" { "w" } else { "p" }.to_owned(),
                // Several ignored indices are this crate's.
                _ => continue,
            };
            arguments.push(format!("{name}={value}"));
        }
        let reduction = if weighs_rows { "none" } else { self.reduction() };
        if reduction != "mean" || is_torchvision {
            arguments.push(format!("reduction='{reduction}'"));
        }
        let function = if is_torchvision { info.name.to_owned() } else { format!("F.{}", info.name) };
        let mut text = format!("loss = {function}({})\n", arguments.join(", "));
        if weighs_rows {
            text += match self.reduction() {
                "none" => "loss = s * loss\n",
                "sum" => "loss = (s * loss).sum()\n",
                _ => "loss = (s * loss).sum() / s.sum()\n",
            };
        }
        if let Some(z) = self.number("z_loss") {
            let reduced = if self.reduction() == "none" { String::new() } else { format!(".{}()", self.reduction()) };
            text += &format!("loss = loss + {z} * torch.logsumexp({}, 1).square(){reduced}\n", arguments[0]);
        }
        text
    }
}

/// A number as Rust has it: with a point.
fn rust(value: f64) -> String {
    match value as f32 {
        v if v.is_nan() => "f32::NAN".into(),
        f32::INFINITY => "f32::INFINITY".into(),
        f32::NEG_INFINITY => "f32::NEG_INFINITY".into(),
        v => format!("{v:?}"),
    }
}

fn array(values: &ArrayD<f32>) -> String {
    let list: Vec<_> = values.iter().copied().collect();
    let mut first = true;
    // The first number says the type.
    let typed = |v: &f32| {
        let text = rust(f64::from(*v));
        if std::mem::take(&mut first) && v.is_finite() { text + "_f32" } else { text }
    };
    let typed = std::cell::RefCell::new(typed);
    format!("array!{}", nested(values.shape(), &list, &|v| (typed.borrow_mut())(v)))
}

fn python(values: &ArrayD<f32>) -> String {
    let list: Vec<_> = values.iter().copied().collect();
    nested(values.shape(), &list, &python_number)
}

fn python_weight(weight: &Weight) -> String {
    nested(weight.shape(), weight.values(), &python_number)
}

fn python_number(v: &f32) -> String {
    match *v {
        v if v.is_nan() => "float('nan')".into(),
        v if v.is_infinite() => format!("{}torch.inf", if v < 0.0 { "-" } else { "" }),
        v => format!("{v:?}"),
    }
}

fn joined(values: &[f32], write: impl Fn(f64) -> String) -> String {
    values.iter().map(|&v| write(f64::from(v))).collect::<Vec<_>>().join(", ")
}

/// Values of a shape in brackets.
fn nested<T>(shape: &[usize], values: &[T], write: &dyn Fn(&T) -> String) -> String {
    match shape {
        [] => values.first().map(write).unwrap_or_default(),
        [_] => format!("[{}]", values.iter().map(write).collect::<Vec<_>>().join(", ")),
        [_, rest @ ..] => {
            let size = rest.iter().product::<usize>().max(1);
            let rows: Vec<_> = values.chunks(size).map(|row| nested(rest, row, write)).collect();
            format!("[{}]", rows.join(", "))
        }
    }
}

fn title(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
