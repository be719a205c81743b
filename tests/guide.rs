//! Proves that the guide has a chapter for every loss and every option, that its figures are calls which the crate
//! accepts, and that the values beside them are what it computes.

use std::fs;

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{Evaluate, LOSSES, LossInfo, OptionValue, Options, Want, Weight};
use ndarray::{ArrayD, IxDyn};
use serde_json::{Map, Value};

use crate::support::{cases, conformance, ensure, reason, root, table};

const HEADINGS: [&str; 7] = [
    "What it measures",
    "Formula",
    "When to use it",
    "Options",
    "What goes wrong",
    "In Rust and in PyTorch",
    "Where it comes from",
];

/// Of `expect`, relative.
const TOLERANCE: f64 = 1e-12;

fn read(file: &str) -> String {
    let path = root().join("src/guide").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

struct Chapter {
    name: String,
    title: String,
    text: String,
}

/// The chapters as the table of contents lists them: `1. [title](crate::guide::name): ...`.
fn chapters() -> Vec<Chapter> {
    let contents = read("contents.md");
    let entry = |line: &str| {
        let (_, entry) = line.split_once(". [")?;
        let (title, rest) = entry.split_once("](crate::guide::")?;
        let (name, _) = rest.split_once("): ")?;
        let text = read(&format!("{name}.md"));
        Some(Chapter { name: name.to_owned(), title: title.to_owned(), text })
    };
    contents.lines().filter_map(entry).collect()
}

/// The chapters of the losses, which come after the first one, in the order of the table.
fn loss_chapters() -> Vec<(&'static LossInfo, Chapter)> {
    LOSSES.iter().zip(chapters().into_iter().skip(1)).collect()
}

impl Chapter {
    /// The lines below a heading, up to the next.
    fn section(&self, heading: &str) -> String {
        let lines = self.text.lines().skip_while(|line| line.strip_prefix("## ") != Some(heading));
        lines.skip(1).take_while(|line| !line.starts_with("## ")).collect::<Vec<_>>().join("\n")
    }

    fn figures(&self) -> Vec<Figure> {
        let comments = self.text.split("<!-- figure ").skip(1);
        comments.map(|comment| Figure::parse(comment).unwrap_or_else(|why| panic!("{}: {why}", self.name))).collect()
    }
}

/// A call that a reader can change: what stands in a comment `<!-- figure {JSON} -->`.
struct Figure(Map<String, Value>);

impl Figure {
    fn parse(comment: &str) -> Result<Self, String> {
        const KEYS: [&str; 10] =
            ["loss", "title", "input", "input2", "target", "sample_weight", "options", "reduction", "expect", "move"];
        let (json, _) = comment.split_once("-->").ok_or("a figure without an end")?;
        let fields: Map<String, Value> = serde_json::from_str(json).map_err(|error| format!("{error} in {json}"))?;
        match fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
            Some(key) => Err(format!("a figure with the key {key}")),
            None => Ok(Self(fields)),
        }
    }

    fn text(&self, key: &str) -> Result<&str, String> {
        self.0.get(key).and_then(Value::as_str).ok_or_else(|| format!("no {key}"))
    }

    fn info(&self) -> Result<&'static LossInfo, String> {
        let name = self.text("loss")?;
        LOSSES.iter().find(|info| info.name == name).ok_or_else(|| format!("no loss is called {name}"))
    }

    fn options(&self) -> Result<Options, String> {
        let no_options = Map::new();
        let options = self.0.get("options").and_then(Value::as_object).unwrap_or(&no_options);
        let reduction = self.0.get("reduction").map(|word| ("reduction", word));
        options.iter().map(|(name, value)| (name.as_str(), value)).chain(reduction).map(option).collect()
    }

    /// Its tensors, as f32 holds them.
    fn tensors(&self) -> Result<OwnedTensors, String> {
        let tensor = |key: &str| self.0.get(key).map(array).transpose();
        let (input, target) = (tensor("input")?.ok_or("no input")?, tensor("target")?.ok_or("no target")?);
        let is_list = self.info()?.name == "multilabel_margin_loss";
        let target = if target.ndim() < input.ndim() || is_list {
            OwnedTarget::Indices(target.mapv(|label| label as i64))
        } else {
            OwnedTarget::Values(target)
        };
        let mut tensors = OwnedTensors::new(input, target);
        tensors.input2 = tensor("input2")?;
        tensors.sample_weight = tensor("sample_weight")?;
        Ok(tensors)
    }

    /// Its losses in f64.
    fn compute(&self) -> Result<ArrayD<f64>, String> {
        let loss = (self.info()?.from_options)(&self.options()?).map_err(reason)?;
        let output = loss.reference(&self.tensors()?.to_f64().view().wants(Want::LOSS)).map_err(reason)?;
        output.loss.ok_or_else(|| "no loss".to_owned())
    }

    fn check(&self) -> Result<(), String> {
        let title = self.text("title")?;
        ensure(title.len() > 10, || "a figure without a title")?;
        let got = self.compute()?;
        if let Some(expected) = self.0.get("expect") {
            let expected = array_of(expected, number)?;
            let close = |(&got, &expected): (&f64, &f64)| {
                got == expected || got.is_nan() && expected.is_nan() || (got / expected - 1.0).abs() <= TOLERANCE
            };
            let same = got.shape() == expected.shape() && got.iter().zip(&expected).all(close);
            ensure(same, || format!("{title}: {got}, expected {expected}"))?;
        }
        let options = cases::option_names(self.info()?);
        let movable =
            self.0.get("move").and_then(Value::as_array).ok_or_else(|| format!("{title}: nothing to move"))?;
        ensure(!movable.is_empty(), || format!("{title}: nothing to move"))?;
        let exists = |name: &str| options.iter().any(|option| option == name) || self.0.contains_key(name);
        let unknown = movable.iter().find(|name| !name.as_str().is_some_and(exists));
        unknown.map_or(Ok(()), |name| Err(format!("{title}: no {name} to move")))
    }
}

fn option((name, value): (&str, &Value)) -> Result<(String, OptionValue), String> {
    let value = match (name, value) {
        ("weight" | "pos_weight", _) => OptionValue::Tensor(Weight::from(array(value)?)),
        ("ignore_indices", _) => OptionValue::Integers(array(value)?.iter().map(|&index| index as i64).collect()),
        (_, Value::Number(_)) => OptionValue::Number(number(value)?),
        (_, Value::String(word)) => OptionValue::from(word.as_str()),
        (_, Value::Bool(flag)) => OptionValue::Flag(*flag),
        (_, other) => return Err(format!("option {name}: {other}")),
    };
    Ok((name.to_owned(), value))
}

/// A number, or a word for what JSON does not have: `inf`, `-inf`, `nan`.
fn number(value: &Value) -> Result<f64, String> {
    let word = value.as_str().and_then(|word| word.parse().ok());
    value.as_f64().or(word).ok_or_else(|| format!("{value} is no number"))
}

fn array(value: &Value) -> Result<ArrayD<f32>, String> {
    array_of(value, |value| number(value).map(|number| number as f32))
}

/// Nested lists, all of the same lengths, as a tensor.
fn array_of<T>(value: &Value, element: impl Fn(&Value) -> Result<T, String>) -> Result<ArrayD<T>, String> {
    let (mut shape, mut level) = (Vec::new(), vec![value]);
    while level.iter().any(|value| value.is_array()) {
        let lists: Option<Vec<_>> = level.iter().map(|value| value.as_array()).collect();
        let lists = lists.ok_or_else(|| format!("lists beside numbers in {value}"))?;
        shape.push(lists[0].len());
        level = lists.into_iter().flatten().collect();
    }
    let values: Vec<T> = level.into_iter().map(element).collect::<Result<_, _>>()?;
    ArrayD::from_shape_vec(IxDyn(&shape), values).map_err(|error| format!("{error}: {value}"))
}

#[test]
fn the_contents_list_every_chapter_once() {
    let listed: Vec<String> = chapters().into_iter().map(|chapter| chapter.name).collect();
    let module = read("mod.rs");
    let modules = module.split("chapters! {\n").nth(1).and_then(|rest| rest.split('}').next()).unwrap_or_default();
    assert_eq!(modules.split_whitespace().collect::<Vec<_>>(), listed);
    let mut files: Vec<String> = fs::read_dir(root().join("src/guide"))
        .expect("a folder")
        .filter_map(|entry| entry.expect("a file").file_name().to_str()?.strip_suffix(".md").map(str::to_owned))
        .filter(|name| name != "contents")
        .collect();
    files.sort();
    let mut sorted = listed;
    sorted.sort();
    assert_eq!(files, sorted);
    table(|rows| {
        for chapter in chapters() {
            let title = format!("# {}", chapter.title);
            rows.row(&chapter.name, ensure(chapter.text.lines().next() == Some(&title), || "another title"));
        }
    });
}

#[test]
fn every_loss_has_a_chapter_with_every_heading() {
    table(|rows| {
        for (info, chapter) in loss_chapters() {
            let headings: Vec<&str> = chapter.text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
            rows.row(&chapter.name, ensure(headings == HEADINGS, || format!("headings {headings:?}")));
            let first = chapter.figures().first().and_then(|figure| figure.info().ok()).map(|info| info.name);
            rows.row(&chapter.name, ensure(first == Some(info.name), || "its first figure is not of its loss"));
            let calls = chapter.section("In Rust and in PyTorch");
            let has_both = calls.contains("```rust\n") && calls.contains("```python\n");
            rows.row(&chapter.name, ensure(has_both, || "no call in Rust or in PyTorch"));
        }
    });
}

#[test]
fn every_option_is_named_in_its_chapter() {
    table(|rows| {
        for (info, chapter) in loss_chapters() {
            let section = chapter.section("Options");
            for name in cases::option_names(info) {
                let named = section.contains(&format!("**`{name}`**"));
                rows.row(format!("{}: {name}", chapter.name), ensure(named, || "not under `Options`"));
            }
        }
    });
}

#[test]
fn every_figure_computes_its_value() {
    table(|rows| {
        for chapter in chapters() {
            let before =
                chapter.text.split("<!-- figure ").map(|text| text.lines().rev().find(|line| !line.is_empty()));
            for (figure, before) in chapter.figures().iter().zip(before) {
                rows.row(&chapter.name, figure.check());
                let introduced = before.is_some_and(|line| !line.starts_with('#') && !line.ends_with("-->"));
                rows.row(&chapter.name, ensure(introduced, || "no sentence before a figure says what to try"));
            }
        }
    });
}

/// The worked examples of the documents that this project began with: each is a figure of its loss' chapter.
#[test]
fn every_founding_example_is_a_figure() {
    let goldens = conformance::load(&root().join("tests/goldens")).expect("golden cases");
    let chapters = loss_chapters();
    table(|rows| {
        for case in goldens.iter().filter(|case| case.tags.contains("founding-doc")) {
            let expected = case.expected("loss").and_then(|loss| loss.first().copied());
            let chapter = chapters.iter().find(|(info, _)| info.name == case.op);
            let shown = chapter.is_some_and(|(_, chapter)| {
                chapter.figures().iter().any(|figure| {
                    let value = figure.0.get("expect").and_then(Value::as_f64);
                    value
                        .zip(expected)
                        .is_some_and(|(value, expected)| (value - expected).abs() <= TOLERANCE * expected)
                })
            });
            rows.row(&case.id, ensure(shown, || format!("no figure with the value {expected:?}")));
        }
    });
}

/// What a figure must not be: a wrong value, an option or a tensor that the loss does not take.
#[test]
fn a_wrong_figure_is_noticed() {
    let figure = |rest: &str| {
        let json = format!(
            r#"{{"loss": "hinge_loss", "title": "A wrong figure", "input": [0.25], "target": [1.0], {rest}}} -->"#
        );
        Figure::parse(&json).and_then(|figure| figure.check())
    };
    assert_eq!(figure(r#""expect": 0.75, "move": ["input"]"#), Ok(()));
    for wrong in [
        r#""expect": 0.7500001, "move": ["input"]"#,
        r#""expect": [0.75], "move": ["input"]"#,
        r#""expect": "inf", "move": ["input"]"#,
        r#""expect": "nan", "move": ["input"]"#,
        r#""move": ["gamma"]"#,
        r#""move": []"#,
        r#""move": ["input"], "options": {"gamma": 2.0}"#,
        r#""move": ["input"], "sample_weight": [1.0]"#,
        r#""move": ["input"], "weights": [1.0]"#,
    ] {
        assert!(figure(wrong).is_err(), "{wrong}");
    }
}
