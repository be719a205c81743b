//! Proves that every invalid call is refused with the error that names its argument, what was expected and what was
//! given, on the GPU and on the CPU alike; that a message reads as one line that says what to do; and that an error
//! keeps its source.

use std::error::Error as _;

use deeploss::{
    Bce, BceWithLogits, Context, CrossEntropy, Error, Evaluate, Hinge, INSTALL_A_DRIVER, KlDiv, LOSSES, Loss,
    MarginRanking, MultiLabelMargin, MultiMargin, Nll, OptionValue, Options, Output, Prepared, Problem, Reduction,
    RowStrategy, SigmoidFocal, TargetKind, Tensors, Tuning, Want,
};
use ndarray::{Array, Array2, ArrayD, IxDyn, arr0, array};

use crate::support::{cases, ensure, gpu, own_device, places, scratch, table};

fn shape(argument: &'static str, expected: &str, got: &str) -> Error {
    Error::Shape { argument, expected: expected.into(), got: got.into() }
}

fn value(argument: &'static str, expected: &str, got: &str) -> Error {
    Error::Value { argument, expected: expected.into(), got: got.into() }
}

/// The error is this one (of what is missing, the argument), and its message holds the argument, what was expected and
/// what was given.
fn is(got: Result<Output, Error>, expected: &Error) -> Result<(), String> {
    let Err(got) = got else { return Err("accepted".into()) };
    let same_argument =
        matches!((&got, expected), (Error::Missing { argument: a, .. }, Error::Missing { argument: b, .. }) if a == b);
    if got != *expected && !same_argument {
        return Err(format!("{got:?}, expected {expected:?}"));
    }
    let message = got.to_string();
    let words: Vec<String> = match expected {
        Error::Shape { argument, expected, got } | Error::Value { argument, expected, got } => {
            vec![(*argument).to_owned(), expected.clone(), got.clone()]
        }
        Error::Target { row, value, classes, ignorable } => {
            if message.contains("ignore index") != *ignorable {
                return Err(format!("`{message}` for a loss with ignore indices: {ignorable}"));
            }
            vec!["target".into(), row.to_string(), value.to_string(), format!("0..{classes}")]
        }
        Error::Missing { argument, why } => vec![(*argument).to_owned(), (*why).to_owned()],
        other => return Err(format!("no error of a host call: {other:?}")),
    };
    let missing: Vec<&String> = words.iter().filter(|word| !message.contains(word.as_str())).collect();
    let one_line = !message.contains('\n') && !message.ends_with('.');
    match (missing.is_empty() && one_line, expected.is_invalid_input()) {
        (true, true) => Ok(()),
        (true, false) => Err("not counted as invalid input".into()),
        (false, _) => {
            Err(format!("the message `{message}` lacks {missing:?} or is no single line without a full stop"))
        }
    }
}

type Call = Box<dyn Fn(&Context) -> Result<Output, Error>>;

/// A call of a loss with zeros of these shapes; class indices are 0 too.
fn indices(loss: impl Loss + 'static, input: &[usize], target: &[usize], want: Want) -> Call {
    let (input, target) = (ArrayD::<f32>::zeros(IxDyn(input)), ArrayD::<i64>::zeros(IxDyn(target)));
    Box::new(move |ctx| loss.evaluate(ctx, &Tensors::new(input.view(), target.view()).wants(want)))
}

fn values(loss: impl Loss + 'static, input: &[usize], target: &[usize], want: Want) -> Call {
    let (input, target) = (ArrayD::<f32>::zeros(IxDyn(input)), ArrayD::<f32>::zeros(IxDyn(target)));
    Box::new(move |ctx| loss.evaluate(ctx, &Tensors::new(input.view(), target.view()).wants(want)))
}

fn upstream(loss: impl Loss + 'static, input: &[usize], upstream: &[usize]) -> Call {
    let (input, target) = (ArrayD::<f32>::zeros(IxDyn(input)), ArrayD::<i64>::zeros(IxDyn(&input[..1])));
    let upstream = ArrayD::<f32>::zeros(IxDyn(upstream));
    Box::new(move |ctx| {
        loss.evaluate(ctx, &Tensors::new(input.view(), target.view()).grad_output(upstream.view()).wants(Want::GRAD))
    })
}

fn labels(loss: impl Loss + 'static, labels: Vec<i64>, classes: usize) -> Call {
    let input = ArrayD::<f32>::zeros(IxDyn(&[labels.len(), classes]));
    let target = Array::from_vec(labels);
    Box::new(move |ctx| loss.evaluate(ctx, &Tensors::new(input.view(), target.view())))
}

/// Lists of labels.
fn indices_of(loss: impl Loss + 'static, target: Array2<i64>) -> Call {
    let input = ArrayD::<f32>::zeros(IxDyn(target.shape()));
    Box::new(move |ctx| loss.evaluate(ctx, &Tensors::new(input.view(), target.view())))
}

fn rows_of_classes() -> Vec<(&'static str, Call, Error)> {
    let both = Want::LOSS | Want::GRAD;
    let ce = CrossEntropy::new;
    let no_classes = "at least one class";
    vec![
        ("no classes", indices(ce(), &[2, 0], &[2], both), shape("input", no_classes, "[2, 0]")),
        ("no classes, (C)", indices(Nll::new(), &[0], &[], both), shape("input", no_classes, "[0]")),
        ("too many labels", indices(ce(), &[2, 3], &[3], both), shape("target", "[2]", "[3]")),
        ("labels with the class axis", indices(Nll::new(), &[2, 3], &[2, 3], both), shape("target", "[2]", "[2, 3]")),
        (
            "labels of the wrong axis",
            indices(ce(), &[2, 3, 4], &[2, 3], both),
            shape("target", "[2, 4], or `class_axis(2)` if the classes are the last axis", "[2, 3]"),
        ),
        (
            "labels as floats",
            values(ce(), &[2, 3], &[2], both),
            value(
                "target",
                "class indices, which need integers, or probabilities of shape [2, 3]",
                "floating-point values of shape [2]",
            ),
        ),
        (
            "classes on the last axis",
            indices(Nll::new(), &[4, 2, 5, 3], &[4, 2, 5], both),
            shape("target", "[4, 5, 3], or `class_axis(3)` if the classes are the last axis", "[4, 2, 5]"),
        ),
        ("a label for (C)", indices(ce(), &[3], &[1], both), shape("target", "[]", "[1]")),
        (
            "labels at class axis 0",
            indices(ce().class_axis(0), &[2, 3], &[2], both),
            shape("target", "[3], or `class_axis(1)` if the classes are the last axis", "[2]"),
        ),
        ("too few probabilities", values(ce(), &[2, 3], &[2, 2], both), shape("target", "[2, 3]", "[2, 2]")),
        ("grad_output of a mean", upstream(ce(), &[2, 3], &[2]), shape("grad_output", "[]", "[2]")),
        (
            "grad_output of none",
            upstream(Nll::new().reduction(Reduction::None), &[2, 3], &[]),
            shape("grad_output", "[2]", "[]"),
        ),
        ("a weight too many", indices(ce().weight([1.0; 4]), &[2, 3], &[2], both), shape("weight", "[3]", "[4]")),
        (
            "weight of another axis",
            indices(Nll::new().weight([1.0; 3]).class_axis(0), &[2, 3], &[3], both),
            shape("weight", "[2]", "[3]"),
        ),
        (
            "class axis",
            indices(ce().class_axis(2), &[2, 3], &[2], both),
            value("class_axis", "an axis of the input, 0..2", "2"),
        ),
        (
            "negative smoothing",
            indices(ce().label_smoothing(-0.5), &[2, 3], &[2], both),
            value("label_smoothing", "a number in 0 ..= 1", "-0.5"),
        ),
        (
            "too much smoothing",
            indices(ce().label_smoothing(1.5), &[2, 3], &[2], both),
            value("label_smoothing", "a number in 0 ..= 1", "1.5"),
        ),
        (
            "smoothing that is no number",
            indices(ce().label_smoothing(f32::NAN), &[2, 3], &[2], both),
            value("label_smoothing", "a number in 0 ..= 1", "NaN"),
        ),
        (
            "batch mean",
            indices(ce().reduction(Reduction::BatchMean), &[2, 3], &[2], both),
            value("reduction", "none, mean or sum", "batchmean"),
        ),
        (
            "five ignored values",
            indices(ce().ignore_indices([1, 2, 3, 4, 5]), &[2, 9], &[2], both),
            value("ignore_index", "at most 4 values", "5"),
        ),
        (
            "an ignored class with probabilities",
            values(ce().ignore_index(1), &[2, 3], &[2, 3], both),
            value("ignore_index", "none, or a negative one, with target probabilities", "1"),
        ),
        (
            "the target's gradient of labels",
            indices(ce(), &[2, 3], &[2], Want::GRAD_TARGET),
            value("want", "outputs of this loss", "the gradient of a target that has none"),
        ),
        (
            "probabilities",
            values(Nll::new(), &[2, 3], &[2, 3], both),
            value("target", "class indices, which need integers", "floating-point values"),
        ),
        (
            "a label too large",
            labels(ce(), vec![0, 3, 7], 3),
            Error::Target { row: 1, value: 3, classes: 3, ignorable: true },
        ),
        (
            "a negative label",
            labels(Nll::new(), vec![-1], 3),
            Error::Target { row: 0, value: -1, classes: 3, ignorable: true },
        ),
        (
            "a huge label",
            labels(ce(), vec![0, i64::MAX], 3),
            Error::Target { row: 1, value: i64::MAX, classes: 3, ignorable: true },
        ),
        (
            "a label that is 0 in 32 bits",
            labels(ce(), vec![1 << 32], 3),
            Error::Target { row: 0, value: 1 << 32, classes: 3, ignorable: true },
        ),
        (
            "what stands for a far ignored value",
            labels(ce().ignore_index(1 << 40), vec![1 << 40, i64::from(i32::MIN)], 3),
            Error::Target { row: 1, value: i64::from(i32::MIN), classes: 3, ignorable: true },
        ),
        (
            "-1 where nothing is ignored",
            labels(MultiMargin::new(), vec![0, -1], 3),
            Error::Target { row: 1, value: -1, classes: 3, ignorable: false },
        ),
        (
            "a list with a label too large",
            indices_of(MultiLabelMargin::new(), array![[0_i64, -1, 9], [1, 7, -1]]),
            Error::Target { row: 1, value: 7, classes: 3, ignorable: false },
        ),
        (
            "-100 where it is not ignored",
            labels(ce().ignore_index(1), vec![1, -100], 3),
            Error::Target { row: 1, value: -100, classes: 3, ignorable: true },
        ),
    ]
}

fn elements() -> Vec<(&'static str, Call, Error)> {
    let both = Want::LOSS | Want::GRAD;
    let six = ArrayD::<f32>::zeros(IxDyn(&[6]));
    vec![
        (
            "a target of another shape",
            values(BceWithLogits::new(), &[2, 3], &[3], both),
            shape("target", "[2, 3]", "[3]"),
        ),
        (
            "batch mean",
            values(SigmoidFocal::new().reduction(Reduction::BatchMean), &[2, 3], &[2, 3], both),
            value("reduction", "none, mean or sum", "batchmean"),
        ),
        (
            "a second gradient",
            values(KlDiv::new(), &[2, 3], &[2, 3], Want::GRAD_INPUT2),
            value("want", "outputs that this loss has", "the gradient of a second input"),
        ),
        (
            "the target's gradient",
            values(Hinge::new(), &[2, 3], &[2, 3], Want::GRAD_TARGET),
            value("want", "outputs that this loss has", "the gradient of the target"),
        ),
        (
            "a weight that does not broadcast",
            values(Bce::new().weight(six.view()), &[2, 3], &[2, 3], both),
            shape("weight", "one that broadcasts to the input's, [2, 3]", "[6]"),
        ),
        (
            "no second input",
            values(MarginRanking::new(), &[2, 3], &[2, 3], both),
            Error::Missing { argument: "input2", why: "" },
        ),
    ]
}

#[test]
fn invalid_calls_are_refused_by_name() {
    table(|rows| {
        for (place, ctx) in places() {
            for (name, call, expected) in rows_of_classes().into_iter().chain(elements()) {
                rows.row(format!("{place} {name}"), is(call(&ctx), &expected));
            }
        }
    });
}

/// A tensor that the loss has no use for is not silently dropped.
#[test]
fn tensors_that_a_loss_does_not_take_are_refused() {
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss) in cases::variants(4) {
                let tensors = loss.example_inputs(&[3, 4], 1);
                let takes_mask = loss.lower(&cases::problem(&tensors, Want::LOSS).with_ignore_mask()).is_ok();
                let mask = ArrayD::from_elem(cases::item_shape(&*loss, &tensors).expect("a sample"), false);
                let got = loss.evaluate(&ctx, &tensors.view().ignore_mask(mask.view()).wants(Want::LOSS));
                let right = takes_mask || matches!(&got, Err(Error::Value { argument: "ignore_mask", .. }));
                rows.row(format!("{place} {name} mask"), ensure(right, || format!("{got:?}")));
                if tensors.input2.is_none() {
                    let got = loss.evaluate(&ctx, &tensors.view().input2(tensors.input.view()).wants(Want::LOSS));
                    let right = matches!(&got, Err(Error::Value { argument: "input2", .. }));
                    rows.row(format!("{place} {name} input2"), ensure(right, || format!("{got:?}")));
                }
            }
        }
    });
}

/// Masks of another shape than the input's, or than the class indices'.
#[test]
fn a_mask_has_the_shape_of_what_it_masks() {
    table(|rows| {
        for (place, ctx) in places() {
            let (x, t) = (array![[0.0_f32, 1.0]], array![[1.0_f32, 0.0]]);
            let mask = array![true, false];
            let call = Tensors::new(x.view(), t.view()).ignore_mask(mask.view()).wants(Want::LOSS);
            let got = BceWithLogits::new().evaluate(&ctx, &call);
            rows.row(format!("{place} elements"), is(got, &shape("ignore_mask", "[1, 2]", "[2]")));
            let got = CrossEntropy::new().evaluate(&ctx, &call);
            rows.row(format!("{place} rows"), is(got, &shape("ignore_mask", "[1]", "[2]")));
        }
    });
}

/// Probabilities are in 0 ..= 1, and so are their targets; NaN is not.
#[test]
fn values_that_a_loss_is_not_defined_for_are_refused() {
    let good = array![0.5_f32, 0.25, 1.0];
    table(|rows| {
        for (place, ctx) in places() {
            for bad in [-0.001_f32, 1.001, f32::NAN, f32::INFINITY, -f32::INFINITY] {
                let wrong = array![0.5_f32, bad, 0.0];
                for (argument, x, t) in [("input", &wrong, &good), ("target", &good, &wrong)] {
                    let got = Bce::new().evaluate(&ctx, &Tensors::new(x.view(), t.view()));
                    let outcome = match &got {
                        Err(error @ Error::Value { argument: named, .. }) if *named == argument => {
                            let message = error.to_string();
                            let said = message.contains(&bad.to_string()) && message.contains('1');
                            ensure(said, || message)
                        }
                        other => Err(format!("{other:?}")),
                    };
                    rows.row(format!("{place} {argument} {bad}"), outcome);
                }
            }
        }
    });
}

/// Options by name, as a configuration file gives them.
#[test]
fn wrong_options_are_refused_by_name() {
    let number = |v| OptionValue::Number(v);
    let text = |word: &str| OptionValue::Text(word.to_owned());
    let reductions = "none, mean, sum or batchmean";
    let cases = vec![
        ("reduction", text("average"), value("reduction", reductions, "average")),
        ("reduction", number(1.0), value("reduction", "a word", "Number(1.0)")),
        ("ignore_index", number(0.5), value("ignore_index", "an integer", "0.5")),
        ("ignore_index", text("none"), value("ignore_index", "a number", "Text(\"none\")")),
        ("label_smoothing", OptionValue::Flag(true), value("label_smoothing", "a number", "Flag(true)")),
        ("weight", number(2.0), value("weight", "a tensor", "Number(2.0)")),
        ("weight", ArrayD::zeros(IxDyn(&[2, 3])).into(), shape("weight", "(C)", "[2, 3]")),
    ];
    let cross_entropy = LOSSES.iter().find(|info| info.name == "cross_entropy").expect("a loss of the table");
    table(|rows| {
        for (name, option, expected) in cases {
            let got = (cross_entropy.from_options)(&Options::from([(name, option)]));
            let outcome = match got {
                Err(error) if error == expected => Ok(()),
                other => Err(format!("{:?}", other.map(|loss| format!("{loss:?}")))),
            };
            rows.row(format!("{name}, {expected}"), outcome);
        }
        for info in LOSSES {
            let got = (info.from_options)(&Options::from([("no such option", OptionValue::Number(1.0))]));
            let right = matches!(&got, Err(Error::Value { argument: "options", got, .. }) if got == "no such option");
            rows.row(info.name, ensure(right, || "an unknown option is accepted"));
            let plain = (info.from_options)(&Options::default());
            rows.row(format!("{} without options", info.name), plain.map(|_| ()).map_err(|e| e.to_string()));
        }
    });
}

// ---- What the machine cannot do -------------------------------------------------------------------------------------

/// Valid, but not here: the error says so, and is not the caller's fault.
#[test]
fn what_the_machine_cannot_do_is_unsupported() {
    let problem = Problem::rows(4, 8);
    let small = wgpu::Limits { max_storage_buffer_binding_size: 1 << 12, ..wgpu::Limits::default() };
    let small = own_device(wgpu::Features::empty(), small);
    let loss = CrossEntropy::new();
    let forced = |lanes| loss.prepare_with(&gpu(), &problem, Some(RowStrategy::Lanes { lanes, held: 0 })).map(|_| ());
    let outcomes = [
        ("a prepared call on the CPU", loss.prepare(&Context::cpu(), &problem).map(|_| ()), "CPU"),
        ("48 lanes", forced(48), "48"),
        ("a million lanes", forced(1 << 20), "1048576"),
        ("no lanes", forced(0), "0"),
        (
            "more than registers hold",
            loss.prepare_with(&gpu(), &problem, Some(RowStrategy::Lanes { lanes: 8, held: 9 })).map(|_| ()),
            "held: 9",
        ),
        ("a row larger than a binding", loss.prepare(&small, &Problem::rows(4, 5_000)).map(|_| ()), "5000"),
        ("rows more than a binding holds", loss.prepare(&small, &Problem::rows(5_000, 2)).map(|_| ()), "5000"),
        (
            "a sample larger than a binding",
            loss.prepare(&small, &Problem::new(&[2, 8, 40, 40], TargetKind::Indices)).map(|_| ()),
            "4096",
        ),
        (
            "an element-wise batch",
            Hinge::new().prepare(&small, &Problem::new(&[5_000], TargetKind::Values)).map(|_| ()),
            "5000",
        ),
    ];
    table(|rows| {
        for (name, outcome, word) in outcomes {
            let outcome = match outcome {
                Err(error @ Error::Unsupported { .. }) if !error.is_invalid_input() => {
                    let message = error.to_string();
                    ensure(message.contains(word), || format!("`{message}` lacks {word}"))
                }
                other => Err(format!("{other:?}")),
            };
            rows.row(name, outcome);
        }
    });
}

/// Preparing checks what evaluating checks.
#[test]
fn preparing_an_invalid_problem_is_refused_too() {
    let refused = |got: Result<Prepared, Error>, expected: &Error| match got {
        Err(error) if error == *expected => Ok(()),
        other => Err(format!("{:?}", other.map(|_| "prepared"))),
    };
    table(|rows| {
        let ce = CrossEntropy::new;
        let no_axis = value("class_axis", "an axis of the input, 0..2", "5");
        rows.row("axis", refused(ce().class_axis(5).prepare(&gpu(), &Problem::rows(2, 3)), &no_axis));
        let weight = shape("weight", "[3]", "[2]");
        rows.row("weight", refused(ce().weight([1.0; 2]).prepare(&gpu(), &Problem::rows(2, 3)), &weight));
        let indices = value("target", "class indices, which need integers", "floating-point values");
        rows.row("target", refused(Nll::new().prepare(&gpu(), &Problem::new(&[2, 3], TargetKind::Values)), &indices));
        // Host arrays of integers are converted; a buffer of them is not.
        let values = value("target", "floating-point values", "class indices");
        let labels = Problem::new(&[2, 3], TargetKind::Indices);
        rows.row("integers", refused(Hinge::new().prepare(&gpu(), &labels), &values));
    });
}

/// Errors that only a kernel or a machine makes are printed too.
#[test]
fn messages_of_every_error_say_what_to_do() {
    let errors = [
        (
            Error::Target { row: 3, value: 9, classes: 5, ignorable: true },
            "an ignore index; correct the label or mask the row",
        ),
        (Error::Invalid { argument: "target", count: 2, first: 7, value: "-1".into() }, "correct or ignore them"),
        (Error::Missing { argument: "loss", why: "give a buffer for it" }, "give a buffer for it"),
        (Error::NoAdapter { searched: "vulkan".into(), install: INSTALL_A_DRIVER }, "mesa-vulkan-drivers"),
        (Error::device("lost"), "see the log"),
    ];
    for (error, word) in errors {
        let message = error.to_string();
        assert!(message.contains(word), "{message}");
        assert!(!message.ends_with('.') && !message.contains('\n'), "{message}");
    }
    // A scalar target is a shape like others.
    let (logits, label) = (array![1.0_f32, 2.0], arr0(5_i64));
    let got = CrossEntropy::new().evaluate(&Context::cpu(), &Tensors::new(logits.view(), label.view()));
    assert_eq!(got, Err(Error::Target { row: 0, value: 5, classes: 2, ignorable: true }));
}

/// What the system said is kept, for callers that look into it.
#[test]
fn errors_keep_their_source() {
    let nowhere = scratch().join("no such folder").join("file.tuning");
    let system = std::fs::read(&nowhere).expect_err("there is no such file").to_string();
    for error in [
        Tuning::load(&nowhere).expect_err("there is no such file"),
        Tuning::default().save(&nowhere).expect_err("there is no such folder"),
    ] {
        assert!(matches!(error, Error::File { .. }), "{error:?}");
        assert_eq!(error.source().map(ToString::to_string), Some(system.clone()), "{error:?}");
    }
    let lost = Error::device_caused("the device is lost", std::io::Error::other("out of memory"));
    assert_eq!(lost.source().map(ToString::to_string).as_deref(), Some("out of memory"));
    assert!(Error::device("lost").source().is_none());
}
