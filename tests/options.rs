//! Proves that what `from_options` makes of names and values is the loss that its type makes of the same options, and
//! that it is evaluated as it comes out: boxed.

use deeploss::internals::OwnedTensors;
use deeploss::{
    Bce, BceWithLogits, Context, CrammerSinger, CrossEntropy, Direction, Error, Evaluate, Hinge, HingeEmbedding, KlDiv,
    KlFromLogits, LOSSES, Loss, MarginRanking, MultiLabelMargin, MultiLabelSoftMargin, MultiMargin, Nll, OptionKind,
    OptionValue, Options, Output, Reduction, SigmoidFocal, SoftMargin, SoftmaxFocal, SquaredHinge, Tensors,
};
use ndarray::{Array1, Array2, ArrayD, arr1, array};

use crate::support::compare::bits;
use crate::support::values::{labels, logits, losses, same};
use crate::support::{cases, ensure, places, reason, table};

fn made(name: &str, options: Vec<(&str, OptionValue)>) -> Result<Box<dyn Loss>, Error> {
    let info = LOSSES.iter().find(|info| info.name == name).expect("a loss of the table");
    let options: Options = options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    (info.from_options)(&options)
}

fn number(value: f64) -> OptionValue {
    OptionValue::Number(value)
}

fn text(word: &str) -> OptionValue {
    OptionValue::Text(word.to_owned())
}

fn tensor(values: &[f32]) -> OptionValue {
    OptionValue::Tensor(values.into())
}

type Named = (&'static str, Vec<(&'static str, OptionValue)>, Box<dyn Loss>);

/// Every option of every loss by name, and the loss that its type makes.
fn every_option() -> Vec<Named> {
    let w = [0.5_f32, 2.0, 1.25];
    let none = Reduction::None;
    vec![
        (
            "cross_entropy",
            vec![
                ("weight", tensor(&w)),
                ("label_smoothing", number(0.25)),
                ("ignore_indices", OptionValue::Integers(vec![-100, -7])),
                ("z_loss", number(0.125)),
                ("softcap", number(8.0)),
                ("temperature", number(2.0)),
                ("class_axis", number(1.0)),
                ("on_empty", number(0.0)),
                ("reduction", text("sum")),
            ],
            Box::new(
                CrossEntropy::new()
                    .weight(w)
                    .label_smoothing(0.25)
                    .ignore_indices([-100, -7])
                    .z_loss(0.125)
                    .softcap(8.0)
                    .temperature(2.0)
                    .class_axis(1)
                    .on_empty(0.0)
                    .reduction(Reduction::Sum),
            ),
        ),
        ("cross_entropy", vec![("ignore_index", number(2.0))], Box::new(CrossEntropy::new().ignore_index(2))),
        (
            "nll_loss",
            vec![
                ("weight", tensor(&w)),
                ("ignore_indices", OptionValue::Integers(vec![1, 2])),
                ("class_axis", number(0.0)),
                ("on_empty", number(-1.0)),
                ("reduction", text("none")),
            ],
            Box::new(Nll::new().weight(w).ignore_indices([1, 2]).class_axis(0).on_empty(-1.0).reduction(none)),
        ),
        (
            "softmax_focal_loss",
            vec![
                ("gamma", number(1.5)),
                ("weight", tensor(&w)),
                ("label_smoothing", number(0.125)),
                ("ignore_index", number(0.0)),
                ("class_axis", number(1.0)),
                ("on_empty", number(0.0)),
            ],
            Box::new(
                SoftmaxFocal::new()
                    .gamma(1.5)
                    .weight(w)
                    .label_smoothing(0.125)
                    .ignore_index(0)
                    .class_axis(1)
                    .on_empty(0.0),
            ),
        ),
        (
            "binary_cross_entropy",
            vec![("weight", tensor(&w)), ("on_empty", number(0.0)), ("reduction", text("none"))],
            Box::new(Bce::new().weight(w).on_empty(0.0).reduction(none)),
        ),
        (
            "binary_cross_entropy_with_logits",
            vec![
                ("weight", tensor(&w)),
                ("pos_weight", tensor(&w)),
                ("label_smoothing", number(0.25)),
                ("on_empty", number(0.0)),
            ],
            Box::new(BceWithLogits::new().weight(w).pos_weight(w).label_smoothing(0.25).on_empty(0.0)),
        ),
        (
            "sigmoid_focal_loss",
            vec![("alpha", number(0.75)), ("gamma", number(3.0)), ("on_empty", number(0.0))],
            Box::new(SigmoidFocal::new().alpha(0.75).gamma(3.0).on_empty(0.0)),
        ),
        (
            "kl_div",
            vec![("log_target", OptionValue::Flag(true)), ("on_empty", number(0.0)), ("reduction", text("batchmean"))],
            Box::new(KlDiv::new().log_target(true).on_empty(0.0).reduction(Reduction::BatchMean)),
        ),
        (
            "kl_from_logits",
            vec![
                ("temperature", number(2.0)),
                ("direction", text("reverse")),
                ("class_axis", number(1.0)),
                ("on_empty", number(0.0)),
            ],
            Box::new(KlFromLogits::new().temperature(2.0).direction(Direction::Reverse).class_axis(1).on_empty(0.0)),
        ),
        (
            "hinge_loss",
            vec![("margin", number(0.5)), ("on_empty", number(0.0))],
            Box::new(Hinge::new().margin(0.5).on_empty(0.0)),
        ),
        (
            "squared_hinge_loss",
            vec![("margin", number(0.5)), ("on_empty", number(0.0))],
            Box::new(SquaredHinge::new().margin(0.5).on_empty(0.0)),
        ),
        (
            "margin_ranking_loss",
            vec![("margin", number(0.5)), ("on_empty", number(0.0))],
            Box::new(MarginRanking::new().margin(0.5).on_empty(0.0)),
        ),
        (
            "hinge_embedding_loss",
            vec![("margin", number(0.5)), ("on_empty", number(0.0))],
            Box::new(HingeEmbedding::new().margin(0.5).on_empty(0.0)),
        ),
        ("soft_margin_loss", vec![("on_empty", number(0.0))], Box::new(SoftMargin::new().on_empty(0.0))),
        (
            "multi_margin_loss",
            vec![
                ("p", number(2.0)),
                ("margin", number(0.5)),
                ("weight", tensor(&w)),
                ("class_axis", number(1.0)),
                ("on_empty", number(0.0)),
            ],
            Box::new(MultiMargin::new().p(2).margin(0.5).weight(w).class_axis(1).on_empty(0.0)),
        ),
        (
            "crammer_singer_loss",
            vec![("margin", number(0.5)), ("class_axis", number(1.0)), ("on_empty", number(0.0))],
            Box::new(CrammerSinger::new().margin(0.5).class_axis(1).on_empty(0.0)),
        ),
        (
            "multilabel_margin_loss",
            vec![("class_axis", number(1.0)), ("on_empty", number(0.0))],
            Box::new(MultiLabelMargin::new().class_axis(1).on_empty(0.0)),
        ),
        (
            "multilabel_soft_margin_loss",
            vec![("weight", tensor(&w)), ("class_axis", number(1.0)), ("on_empty", number(0.0))],
            Box::new(MultiLabelSoftMargin::new().weight(w).class_axis(1).on_empty(0.0)),
        ),
    ]
}

/// All at once, and each alone: the same settings, and on a batch the same bits, on the GPU and on the CPU.
#[test]
fn options_by_name_are_the_options_of_the_type() {
    let options = every_option();
    let tested = LOSSES.iter().filter(|info| options.iter().any(|(name, ..)| *name == info.name)).count();
    assert!(tested >= 17, "the options of {tested} losses only are tested");
    table(|rows| {
        for (name, options, expected) in &options {
            for (option, value) in options {
                let alone = made(name, vec![(option, value.clone())]);
                let plain = made(name, vec![]).expect("no options");
                let outcome = alone
                    .map_err(reason)
                    .and_then(|loss| ensure(!cases::same_settings(&*loss, &*plain), || "has no effect"));
                rows.row(format!("{name} {option}"), outcome);
            }
            let loss = match made(name, options.clone()) {
                Ok(loss) => loss,
                Err(error) => {
                    rows.row(name, Err(error.to_string()));
                    continue;
                }
            };
            rows.row(
                name,
                ensure(cases::same_settings(&*loss, &**expected), || format!("{loss:?}, expected {expected:?}")),
            );
            for (place, ctx) in places() {
                let tensors = expected.example_inputs(&[3, 3], 5);
                let of =
                    |loss: &dyn Loss| loss.evaluate(&ctx, &tensors.view()).map(|output| bits(&output)).map_err(reason);
                let (got, typed) = (of(&*loss), of(&**expected));
                rows.row(
                    format!("{place} {name}"),
                    ensure(got.is_ok() && got == typed, || format!("{got:?}, {typed:?}")),
                );
            }
        }
    });
}

/// What comes out of the table of losses is called like any other loss: no type is named here.
#[test]
fn a_boxed_loss_is_evaluated_without_naming_its_type() {
    table(|rows| {
        for (place, ctx) in places() {
            for info in LOSSES {
                let loss = (info.from_options)(&Options::default()).expect("no options");
                let tensors: OwnedTensors =
                    cases::example_inputs(&*loss, &[4, 37], 2).expect("every loss takes (N, C)");
                let outcome = loss.evaluate(&ctx, &tensors.view()).map_err(reason).and_then(|output| {
                    let finite = output.scalar().is_some_and(f32::is_finite);
                    let shaped = output.grad_input.is_some_and(|grad| grad.shape() == [4, 37]);
                    ensure(finite && shaped, || "no finite loss, or no gradient of the input's shape")
                });
                rows.row(format!("{place} {}", info.name), outcome);
            }
        }
    });
}

/// Classes on axis 0, several ignored values, and the mean of an empty batch: through names alone.
#[test]
fn class_axis_ignored_values_and_on_empty_work_by_name() {
    let options = || {
        vec![
            ("class_axis", number(0.0)),
            ("ignore_indices", OptionValue::Integers(vec![-1, 2])),
            ("on_empty", number(0.5)),
        ]
    };
    let transposed = logits(6, 4).reversed_axes();
    let t = array![0_i64, 2, 1, -1, 3, 2];
    table(|rows| {
        for (place, ctx) in places() {
            let loss = made("cross_entropy", options()).expect("options of cross-entropy");
            let of =
                |loss: &dyn Loss, x: &Array2<f32>, t: &Array1<i64>| -> Vec<f32> { losses(&evaluate(loss, &ctx, x, t)) };
            // The rows that are not ignored, on the usual axis.
            let kept = logits(6, 4).select(ndarray::Axis(0), &[0, 2, 4]);
            let expected = of(&CrossEntropy::new(), &kept, &array![0, 1, 3]);
            rows.row(format!("{place} mean"), same(&of(&*loss, &transposed, &t), &expected));
            let ignored = of(&*loss, &transposed, &Array1::from_elem(6, 2));
            rows.row(format!("{place} all ignored"), same(&ignored, &[0.5]));
            let empty = of(&*loss, &Array2::zeros((4, 0)), &labels(0, 1));
            rows.row(format!("{place} empty"), same(&empty, &[0.5]));
        }
    });
}

fn evaluate(loss: &dyn Loss, ctx: &Context, x: &Array2<f32>, target: &Array1<i64>) -> Output {
    loss.evaluate(ctx, &Tensors::new(x.view(), target.view())).unwrap_or_else(|error| panic!("{loss:?}: {error}"))
}

/// Weights of every kind that is convertible are the same weights.
#[test]
fn weights_are_given_as_arrays_vectors_slices_views_or_one_number() {
    let w = [0.5_f32, 2.0, 1.25, 1.0];
    let (vector, array) = (w.to_vec(), arr1(&w));
    let ones = ArrayD::from_elem(vec![4], 1.5_f32);
    type Pair = (&'static str, Box<dyn Loss>, Box<dyn Loss>);
    let pairs: [Pair; 5] = [
        ("vector", Box::new(CrossEntropy::new().weight(vector.clone())), Box::new(CrossEntropy::new().weight(w))),
        ("slice", Box::new(CrossEntropy::new().weight(&vector[..])), Box::new(CrossEntropy::new().weight(w))),
        ("view", Box::new(CrossEntropy::new().weight(array.view())), Box::new(CrossEntropy::new().weight(w))),
        (
            "view of elements",
            Box::new(BceWithLogits::new().pos_weight(array.view())),
            Box::new(BceWithLogits::new().pos_weight(w)),
        ),
        (
            "number",
            Box::new(BceWithLogits::new().pos_weight(1.5)),
            Box::new(BceWithLogits::new().pos_weight(ones.view())),
        ),
    ];
    table(|rows| {
        for (place, ctx) in places() {
            for (name, a, b) in &pairs {
                let tensors = a.example_inputs(&[3, 4], 6);
                let of =
                    |loss: &dyn Loss| loss.evaluate(&ctx, &tensors.view()).map(|output| bits(&output)).map_err(reason);
                let (a, b) = (of(&**a), of(&**b));
                rows.row(format!("{place} {name}"), ensure(a.is_ok() && a == b, || format!("{a:?}, {b:?}")));
            }
        }
    });
}

/// The options that a loss says it has are those that it reads: each is accepted with its default, which changes nothing, and refused
/// as something else.
#[test]
fn the_table_names_every_option_with_its_default() {
    table(|rows| {
        for info in LOSSES {
            let plain = (info.from_options)(&Options::default()).map(|loss| format!("{loss:?}")).map_err(reason);
            let made = |option: &str, value: OptionValue| {
                let options = [(option.to_owned(), value)].into_iter().collect();
                (info.from_options)(&options).map(|loss| format!("{loss:?}")).map_err(reason)
            };
            let options = (info.options)();
            rows.row(info.name, ensure(options.len() >= 2, || format!("only {options:?}")));
            for option in options {
                let wrong = match option.kind {
                    OptionKind::Flag => number(1.0),
                    _ => OptionValue::Flag(true),
                };
                rows.row(
                    format!("{} {} of another kind", info.name, option.name),
                    ensure(made(option.name, wrong).is_err(), || "accepted"),
                );
                if let Some(default) = option.default {
                    let same = made(option.name, default);
                    rows.row(
                        format!("{} {}", info.name, option.name),
                        ensure(same == plain, || format!("{same:?}, expected {plain:?}")),
                    );
                }
            }
            let stranger = made("smooth", number(1.0));
            rows.row(format!("{} smooth", info.name), ensure(stranger.is_err(), || "accepted"));
        }
    });
}
