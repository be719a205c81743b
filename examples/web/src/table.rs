//! The table of losses as the page's controls need it: for each option what it takes, its default, and what the loss accepts. Nothing of
//! it is written here: names, kinds and defaults are the crate's, and which values are accepted is asked of the losses themselves.

use deeploss::internals::OwnedTensors;
use deeploss::{LOSSES, Loss, LossInfo, OptionInfo, OptionKind, OptionValue};
use serde_json::{Value, json};

use crate::call::{has_rows, options, takes_lists};

/// What the input of a loss is, and so how a probability follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Logits of a row, which share one probability.
    Softmax,
    /// Logits, each of a probability of its own.
    Sigmoid,
    /// Logarithms of probabilities.
    Log,
    /// Probabilities.
    Identity,
    /// Scores or distances, which are no probabilities.
    Score,
}

/// What the input of this loss is.
#[must_use]
pub fn link(info: &LossInfo) -> Link {
    match info.name {
        "cross_entropy" | "softmax_focal_loss" | "kl_from_logits" => Link::Softmax,
        "binary_cross_entropy_with_logits"
        | "sigmoid_focal_loss"
        | "soft_margin_loss"
        | "multilabel_soft_margin_loss" => Link::Sigmoid,
        "nll_loss" | "kl_div" => Link::Log,
        "binary_cross_entropy" => Link::Identity,
        _ => Link::Score,
    }
}

/// What a target of this loss is.
fn target(info: &LossInfo, loss: &dyn Loss) -> &'static str {
    match link(info) {
        _ if takes_lists(loss, &[2, CLASSES]) => "labels",
        // Or a distribution, where a figure gives one.
        _ if loss.takes_class_indices() => "class",
        // The teacher's.
        Link::Softmax => "logit",
        Link::Log => "distribution",
        Link::Sigmoid | Link::Identity if info.name == "soft_margin_loss" => "sign",
        Link::Sigmoid | Link::Identity => "probability",
        Link::Score => "sign",
    }
}

/// Every loss with its options, as JSON.
#[must_use]
pub fn table() -> Value {
    LOSSES.iter().map(row).collect()
}

fn row(info: &LossInfo) -> Value {
    let Some((loss, tensors)) = (info.variants)(CLASSES).into_iter().next().map(|loss| {
        let tensors = loss.example_inputs(&[2, CLASSES], 1);
        (loss, tensors)
    }) else {
        return Value::Null;
    };
    let known = (info.options)();
    let asked = Asked { info, tensors: &tensors, known: &known };
    json!({
        "name": info.name,
        "type": info.type_name,
        "pytorch": info.pytorch,
        "formula": info.formula,
        "rows": has_rows(&*loss, &tensors),
        "input": match link(info) {
            Link::Softmax | Link::Sigmoid => "logit",
            Link::Log => "log-probability",
            Link::Identity => "probability",
            Link::Score => "score",
        },
        "target": target(info, &*loss),
        "likelihood": (matches!(info.name, "cross_entropy" | "nll_loss")),
        "options": known.iter().filter_map(|option| asked.control(option)).collect::<Value>(),
    })
}

/// As many as the typical call of a figure.
const CLASSES: usize = 3;

/// A loss, to be asked what it accepts on typical tensors.
struct Asked<'a> {
    info: &'a LossInfo,
    tensors: &'a OwnedTensors,
    known: &'a [OptionInfo],
}

impl Asked<'_> {
    /// The option as a control; `None` where a figure has nothing to show of it.
    fn control(&self, option: &OptionInfo) -> Option<Value> {
        let number = |value: f64| OptionValue::Number(value);
        let mut control = match option.kind {
            // The axis is that of the figure; no figure is of an empty batch; one ignored index shows what several do.
            OptionKind::Integers => return None,
            _ if ["class_axis", "on_empty"].contains(&option.name) => return None,
            OptionKind::Number => {
                let accepts = |value| self.accepts(option.name, number(value));
                // Beyond the bounds that a loss knows; -1 is a word of its own to some.
                let least = if accepts(-1.5) { None } else { Some(0.0) };
                let most = if accepts(1.5) { None } else { Some(1.0) };
                let open = least.is_some() && !accepts(0.0);
                // What a slider spans where the numbers know no bounds.
                let (from, to) = match (least, most) {
                    (Some(least), Some(most)) => (least, most),
                    (Some(_), None) if open => (0.1, 10.0),
                    (Some(least), None) => (least, 5.0),
                    (None, _) => (-1.0, 3.0),
                };
                json!({ "kind": "number", "least": least, "most": most, "open": open, "from": from, "to": to })
            }
            OptionKind::Integer if option.name == "ignore_index" => json!({ "kind": "class" }),
            OptionKind::Integer => {
                let accepted = (0..10_u8).map(f64::from).filter(|&value| self.accepts(option.name, number(value)));
                json!({ "kind": "choice", "values": accepted.collect::<Vec<_>>() })
            }
            OptionKind::Word(words) => {
                let accepted = words.iter().filter(|&&word| self.accepts(option.name, word.into()));
                json!({ "kind": "choice", "values": accepted.collect::<Vec<_>>() })
            }
            OptionKind::Flag => json!({ "kind": "flag" }),
            OptionKind::Tensor => json!({ "kind": "weights" }),
            _ => return None,
        };
        control["name"] = option.name.into();
        control["needs"] = self.needs(option).map_or(Value::Null, |(name, word)| json!({ "name": name, "word": word }));
        control["default"] = match &option.default {
            Some(OptionValue::Number(value)) => json!(value),
            Some(OptionValue::Text(word)) => json!(word),
            Some(OptionValue::Flag(flag)) => json!(flag),
            _ => Value::Null,
        };
        Some(control)
    }

    /// The word of another option without which this one changes nothing; `None` if it always changes something.
    fn needs(&self, option: &OptionInfo) -> Option<(&'static str, &'static str)> {
        let OptionKind::Number = option.kind else { return None };
        let made =
            |pairs: &[(&str, OptionValue)]| (self.info.from_options)(&options(pairs)).map(|loss| format!("{loss:?}"));
        let changes = |beside: &[(&str, OptionValue)]| {
            let with = [beside, &[(option.name, OptionValue::Number(0.375))]].concat();
            made(beside).ok() != made(&with).ok()
        };
        let words = self.known.iter().flat_map(|other| match other.kind {
            OptionKind::Word(words) => words.iter().map(|&word| (other.name, word)).collect(),
            _ => Vec::new(),
        });
        if changes(&[]) { None } else { words.into_iter().find(|&(name, word)| changes(&[(name, word.into())])) }
    }

    /// Whether the loss takes this value, whatever word is chosen beside it.
    fn accepts(&self, name: &str, value: OptionValue) -> bool {
        let takes = |pairs: &[(&str, OptionValue)]| {
            (self.info.from_options)(&options(pairs)).is_ok_and(|loss| lowers(&*loss, self.tensors))
        };
        let beside = self.known.iter().flat_map(|option| match option.kind {
            OptionKind::Word(words) if option.name != name => {
                words.iter().map(|&word| (option.name, word.into())).collect()
            }
            _ => Vec::<(&str, OptionValue)>::new(),
        });
        takes(&[(name, value.clone())])
            && beside.filter(|pair| takes(std::slice::from_ref(pair))).all(|pair| takes(&[pair, (name, value.clone())]))
    }
}

fn lowers(loss: &dyn Loss, tensors: &OwnedTensors) -> bool {
    loss.lower(&tensors.view().problem()).is_ok()
}
