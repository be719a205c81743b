//! Proves that a target may be of any integer type, or of booleans: as class indices, and as values of losses whose
//! target is a value per element.

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{Context, CrossEntropy, Error, Evaluate, Hinge, Loss, Target, Tensors};
use ndarray::{ArrayD, IxDyn, array};

use crate::support::compare::bits;
use crate::support::values::logits;
use crate::support::{cases, ensure, places, reason, table};

/// The block for these labels, of type i64, as a target of each of the types.
macro_rules! each_type {
    ($labels:expr, [$($int:ident),*], |$kind:ident, $target:ident| $block:block) => {$({
        let labels = $labels.mapv(|label| <$int>::try_from(label).expect("labels that every type holds"));
        let ($kind, $target) = (stringify!($int), Target::from(labels.view()));
        $block
    })*};
}

/// The call on another target.
fn with_target<'a>(tensors: &'a OwnedTensors, target: Target<'a>) -> Tensors<'a> {
    Tensors { target, ..tensors.view() }
}

type Outcome = Result<Vec<Option<Vec<u64>>>, String>;

/// The bits of everything that the loss computes, or why not.
fn outcome(loss: &dyn Loss, ctx: &Context, tensors: &Tensors<'_>, like: &OwnedTensors) -> Outcome {
    let want = cases::everything(loss, like);
    loss.evaluate(ctx, &tensors.clone().wants(want)).map(|output| bits(&output)).map_err(reason)
}

#[test]
fn class_indices_of_every_type_are_the_same_class_indices() {
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss) in cases::fullest(5) {
                let tensors = cases::example_inputs(&*loss, &[6, 5], 3).expect("every loss takes (N, C)");
                let OwnedTarget::Indices(labels) = &tensors.target else { continue };
                // Unsigned types have no ignored values, and no end of a list.
                let labels = labels.mapv(|label| label.clamp(0, 4));
                let expected = outcome(&*loss, &ctx, &with_target(&tensors, labels.view().into()), &tensors);
                rows.row(format!("{place} {name} i64"), expected.clone().map(|_| ()));
                each_type!(labels, [i8, i16, i32, u8, u16, u32, u64, usize], |kind, target| {
                    let got = outcome(&*loss, &ctx, &with_target(&tensors, target), &tensors);
                    rows.row(format!("{place} {name} {kind}"), ensure(got == expected, || "differs from i64"));
                });
            }
        }
    });
}

/// Two classes: false is class 0, true is class 1.
#[test]
fn booleans_are_classes_0_and_1() {
    let (x, labels) = (logits(4, 2), array![true, false, false, true]);
    table(|rows| {
        for (place, ctx) in places() {
            let indices = labels.mapv(i64::from);
            let got = CrossEntropy::new().evaluate(&ctx, &Tensors::new(x.view(), labels.view()));
            let expected = CrossEntropy::new().evaluate(&ctx, &Tensors::new(x.view(), indices.view()));
            rows.row(place, ensure(got.is_ok() && got == expected, || format!("{got:?}, expected {expected:?}")));
        }
    });
}

/// Zeros and ones of every type, minus ones of every type that has them: what the loss makes of the same numbers as
/// floats, the error too where the loss is not defined for them.
#[test]
fn integers_and_booleans_are_the_values_of_an_element_wise_target() {
    let mut next = 0_i64;
    let bit = ArrayD::from_shape_simple_fn(IxDyn(&[5, 4]), || {
        next = (next * 5 + 3) % 16;
        next / 8
    });
    let sign = bit.mapv(|bit| 2 * bit - 1);
    let mut compared = 0;
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss) in cases::variants(4) {
                if loss.takes_class_indices() {
                    continue;
                }
                let tensors = cases::example_inputs(&*loss, &[5, 4], 9).expect("every loss takes (N, C)");
                for labels in [&bit, &sign] {
                    let floats = labels.mapv(|label| label as f32);
                    let expected = outcome(&*loss, &ctx, &with_target(&tensors, floats.view().into()), &tensors);
                    compared += usize::from(expected.is_ok());
                    let mut compare = |kind: &str, got: Outcome| {
                        let equal = ensure(got == expected, || match (&got, &expected) {
                            (Ok(_), Ok(_)) => "differs from floats".to_owned(),
                            _ => format!("{:?}, as floats {:?}", got.as_ref().err(), expected.as_ref().err()),
                        });
                        rows.row(format!("{place} {name} {kind}"), equal);
                    };
                    each_type!(labels, [i8, i16, i32, i64], |kind, target| {
                        compare(kind, outcome(&*loss, &ctx, &with_target(&tensors, target), &tensors));
                    });
                    if labels == sign {
                        continue;
                    }
                    each_type!(labels, [u8, u16, u32, u64, usize], |kind, target| {
                        compare(kind, outcome(&*loss, &ctx, &with_target(&tensors, target), &tensors));
                    });
                    let booleans = labels.mapv(|label| label == 1);
                    compare("bool", outcome(&*loss, &ctx, &with_target(&tensors, booleans.view().into()), &tensors));
                }
            }
        }
    });
    assert!(compared > 50, "only {compared} calls were compared, the others were refused alike");
}

/// The reference in double precision takes them too.
#[test]
fn integers_are_values_for_the_reference_in_f64() {
    table(|rows| {
        for (name, loss) in cases::fullest(3) {
            if loss.takes_class_indices() {
                continue;
            }
            let tensors = loss.example_inputs(&[2, 3], 4).to_f64();
            let labels = array![[0_i32, 1, 1], [1, 0, 1]];
            let floats = labels.mapv(f64::from);
            let got = loss.reference(&Tensors { target: labels.view().into(), ..tensors.view() });
            let expected = loss.reference(&Tensors { target: floats.view().into(), ..tensors.view() });
            let [got, expected] = [got, expected].map(|output| output.map(|output| bits(&output)));
            let equal = got.is_ok() && got == expected;
            rows.row(name, ensure(equal, || format!("{got:?}, expected {expected:?}")));
        }
    });
}

/// What no class count reaches is reported with its row, also beyond the range of i64.
#[test]
fn labels_beyond_every_class_are_reported() {
    let x = logits(3, 4);
    table(|rows| {
        for (place, ctx) in places() {
            let mut check = |kind: &str, call: Tensors<'_>, value: i64| {
                let got = CrossEntropy::new().evaluate(&ctx, &call).err();
                let right = got == Some(Error::Target { row: 1, value, classes: 4, ignorable: true });
                rows.row(format!("{place} {kind}"), ensure(right, || format!("{got:?}")));
            };
            check("u64", Tensors::new(x.view(), array![0_u64, u64::MAX, 1].view()), i64::MAX);
            check("u8", Tensors::new(x.view(), array![0_u8, 255, 1].view()), 255);
            check("i8", Tensors::new(x.view(), array![0_i8, -1, 1].view()), -1);
        }
    });
}

/// Values that f32 does not hold are refused rather than rounded; f64 holds them.
#[test]
fn integers_that_the_scalar_type_does_not_hold_are_refused() {
    let label = array![(1_i64 << 24) + 1, 1];
    table(|rows| {
        for (place, ctx) in places() {
            let x = array![0.5_f32, 0.5];
            let got = Hinge::new().evaluate(&ctx, &Tensors::new(x.view(), label.view()));
            let right = matches!(&got, Err(Error::Value { argument: "target", got, .. }) if got == "16777217");
            rows.row(place, ensure(right, || format!("{got:?}")));
        }
        let x = array![0.5_f64, 0.5];
        let got = Hinge::new().reference(&Tensors::new(x.view(), label.view()));
        rows.row("f64", got.map(|_| ()).map_err(reason));
    });
}
