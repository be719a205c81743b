//! Proves that element-wise tensors of different shapes broadcast as in PyTorch, their gradients summed back to their
//! own shapes; that weights of any shape are read in place; and that masked items have no part in the result.

use deeploss::internals::{OwnedTarget, OwnedTensors};
use deeploss::{
    Bce, BceWithLogits, Context, Error, Evaluate, HingeEmbedding, LOSSES, Loss, MultiLabelSoftMargin, Output,
    Reduction, Want,
};
use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn};

use crate::support::cases::Named;
use crate::support::compare::{self, TOLERANCE, bits, outputs};
use crate::support::{Table, cases, ensure, gpu, own_device, places, reason, resident, table};

/// The losses that compare two inputs.
fn of_two_inputs() -> Vec<Named> {
    let has_second = |loss: &dyn Loss| loss.example_inputs(&[2, 2], 1).input2.is_some();
    cases::variants(4).into_iter().filter(|(_, loss)| has_second(&**loss)).collect()
}

/// The element-wise losses that take a mask.
fn with_mask() -> Vec<Named> {
    let takes = |loss: &dyn Loss| {
        let problem = cases::problem(&loss.example_inputs(&[2, 4], 1), Want::LOSS).with_ignore_mask();
        loss.lower(&problem).is_ok() && !cases::has_rows(loss, &loss.example_inputs(&[2, 4], 1))
    };
    cases::variants(4).into_iter().filter(|(_, loss)| takes(&**loss)).collect()
}

/// The first elements, in another shape.
fn cut(values: &ArrayD<f32>, shape: &[usize]) -> ArrayD<f32> {
    let count = shape.iter().product();
    let first = values.iter().copied().cycle().take(count).collect();
    ArrayD::from_shape_vec(IxDyn(shape), first).expect("one value per element")
}

fn shaped(loss: &dyn Loss, input: &[usize], input2: &[usize], target: &[usize]) -> OwnedTensors {
    let sample = loss.example_inputs(&[37, 11], 8);
    let OwnedTarget::Values(values) = &sample.target else { panic!("{loss:?} has labels as targets") };
    OwnedTensors {
        input: cut(&sample.input, input),
        input2: sample.input2.as_ref().map(|values| cut(values, input2)),
        target: OwnedTarget::Values(cut(values, target)),
        ..sample
    }
}

/// The GPU against the reference in f64.
fn check(rows: &mut Table, name: &str, loss: &dyn Loss, tensors: &OwnedTensors) {
    let want = cases::everything(loss, tensors);
    let compared = || {
        let got = loss.evaluate(&gpu(), &tensors.view().wants(want)).map_err(reason)?;
        let oracle = loss.reference(&tensors.to_f64().view().wants(want)).map_err(reason)?;
        outputs(&got, &oracle, cases::scales(loss, tensors), TOLERANCE)
    };
    rows.row(name, compared());
}

/// A tensor that is stretched over no items at all collects nothing: its gradient is 0, and written.
#[test]
fn gradients_of_no_items_are_zeros() {
    table(|rows| {
        for (name, loss) in of_two_inputs() {
            let tensors = shaped(&*loss, &[3, 1], &[3, 1], &[3, 0]);
            let want = Want::LOSS | Want::GRAD | Want::GRAD_INPUT2;
            let zeros = || {
                let output = resident::run(&gpu(), &*loss, &tensors, want, None).map_err(reason)?;
                let gradients = [&output.grad_input, &output.grad_input2];
                let all = gradients.into_iter().all(|grad| grad.iter().flatten().eq(&[0.0; 3]));
                ensure(all, || format!("{gradients:?}"))
            };
            rows.row(name, zeros());
        }
    });
}

type Shapes = (&'static [usize], &'static [usize], &'static [usize]);

/// Inner, outer and middle dimensions stretched, in one tensor or in several; scalars; dimensions that one tensor
/// lacks; sizes that are and that are not multiples of four.
const SHAPES: [Shapes; 14] = [
    (&[3, 4], &[3, 4], &[3, 4]),
    (&[3, 1], &[1, 5], &[3, 5]),
    (&[1, 5], &[3, 1], &[3, 5]),
    (&[5], &[3, 5], &[3, 1]),
    (&[], &[2, 3], &[1]),
    (&[2, 8], &[], &[]),
    (&[], &[], &[3, 7]),
    (&[7], &[7], &[]),
    (&[2, 1, 3], &[4, 1], &[2, 4, 3]),
    (&[5, 1, 4, 1], &[1, 6, 1, 3], &[]),
    (&[2, 3, 4, 5], &[3, 1, 1], &[1, 1, 1, 5]),
    (&[1, 1, 1, 1, 6], &[2, 1, 1, 1, 6], &[6]),
    (&[1], &[1], &[1]),
    (&[600, 1], &[1, 7], &[600, 7]),
];

#[test]
fn two_inputs_and_a_target_broadcast() {
    table(|rows| {
        for (name, loss) in of_two_inputs() {
            for (input, input2, target) in SHAPES {
                let tensors = shaped(&*loss, input, input2, target);
                for (reduction, loss) in cases::reductions(&*loss, &tensors) {
                    let name = format!("{name} {reduction:?} {input:?} {input2:?} {target:?}");
                    check(rows, &name, &*loss, &tensors);
                    let upstream = cases::with_upstream(&*loss, &tensors);
                    check(rows, &format!("{name} with grad_output"), &*loss, &upstream);
                }
            }
        }
    });
}

/// Without the reference: stretching by hand gives the same loss, and gradients that sum up to those of the small
/// tensors.
#[test]
fn broadcasting_is_stretching_and_summing() {
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss) in of_two_inputs() {
                for (input, input2, target) in SHAPES {
                    let small = shaped(&*loss, input, input2, target);
                    let shape = cases::loss_shape(&*loss.with_reduction(Reduction::None), &small)
                        .expect("shapes that broadcast");
                    let stretch =
                        |values: &ArrayD<f32>| values.broadcast(IxDyn(&shape)).expect("it broadcasts").to_owned();
                    let OwnedTarget::Values(values) = &small.target else { continue };
                    let wide = OwnedTensors {
                        input: stretch(&small.input),
                        input2: small.input2.as_ref().map(stretch),
                        target: OwnedTarget::Values(stretch(values)),
                        ..small.clone()
                    };
                    let loss = loss.with_reduction(Reduction::Sum);
                    let want = cases::everything(&*loss, &small);
                    let of = |tensors: &OwnedTensors| {
                        loss.evaluate(&ctx, &tensors.view().wants(want)).expect("a valid call")
                    };
                    let (small_output, wide_output) = (of(&small), of(&wide));
                    let near = |a: f32, b: f32| (a - b).abs() <= 1e-5 * b.abs().max(1.0);
                    let name = format!("{place} {name} {input:?} {input2:?} {target:?}");
                    let (a, b) = (small_output.scalar().unwrap_or(f32::NAN), wide_output.scalar().unwrap_or(f32::NAN));
                    rows.row(format!("{name} loss"), ensure(near(a, b), || format!("{a}, stretched {b}")));
                    for (part, small, wide) in [
                        ("grad_input", &small_output.grad_input, &wide_output.grad_input),
                        ("grad_input2", &small_output.grad_input2, &wide_output.grad_input2),
                        ("grad_target", &small_output.grad_target, &wide_output.grad_target),
                    ] {
                        let (Some(small), Some(wide)) = (small, wide) else { continue };
                        let summed = sum_to(wide, small.shape());
                        let same =
                            small.shape() == summed.shape() && small.iter().zip(&summed).all(|(&a, &b)| near(a, b));
                        rows.row(format!("{name} {part}"), ensure(same, || format!("{small}, summed {summed}")));
                    }
                }
            }
        }
    });
}

/// Sums over the dimensions along which a tensor of this shape was stretched.
fn sum_to(wide: &ArrayD<f32>, shape: &[usize]) -> ArrayD<f32> {
    let mut sums = ArrayD::<f32>::zeros(IxDyn(shape));
    let lead = wide.ndim() - shape.len();
    for (place, &value) in wide.indexed_iter() {
        let own: Vec<usize> =
            shape.iter().enumerate().map(|(k, &size)| if size == 1 { 0 } else { place[lead + k] }).collect();
        sums[IxDyn(&own)] += value;
    }
    sums
}

/// One element against a million: the gradient's sum neither loses items nor digits.
#[test]
fn one_element_against_a_million() {
    const MANY: usize = 1_000_003;
    let shapes: [(&[usize], &[usize], &[usize]); 4] =
        [(&[], &[MANY], &[MANY]), (&[MANY], &[1], &[1]), (&[3], &[MANY / 3, 3], &[1, 1]), (&[MANY / 3, 1], &[3], &[])];
    table(|rows| {
        for (name, loss) in of_two_inputs() {
            for (input, input2, target) in shapes {
                let tensors = shaped(&*loss, input, input2, target);
                for reduction in [Reduction::Mean, Reduction::Sum] {
                    let name = format!("{name} {reduction:?} {input:?} {input2:?} {target:?}");
                    check(rows, &name, &*loss.with_reduction(reduction), &tensors);
                }
            }
        }
    });
}

/// NaN and infinities in a tensor that is stretched reach what they reach in the reference, and in the sums of
/// gradients too.
#[test]
fn nan_and_infinities_in_stretched_tensors() {
    table(|rows| {
        for (name, loss) in of_two_inputs() {
            for (input, input2, target) in SHAPES {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut tensors = shaped(&*loss, input, input2, target);
                    if let Some(x) = tensors.input.iter_mut().last() {
                        *x = bad;
                    }
                    for reduction in [Reduction::None, Reduction::Mean] {
                        let name = format!("{name} {reduction:?} {bad} {input:?} {input2:?} {target:?}");
                        check(rows, &name, &*loss.with_reduction(reduction), &tensors);
                    }
                    let mut tensors = shaped(&*loss, input, input2, target);
                    if let OwnedTarget::Values(values) = &mut tensors.target
                        && let Some(t) = values.iter_mut().last()
                    {
                        *t = bad;
                    }
                    check(rows, &format!("{name} target {bad} {input:?} {input2:?} {target:?}"), &*loss, &tensors);
                }
            }
        }
    });
}

/// A broadcast that needs more than four separate groups of dimensions says so; what does not broadcast is an error of
/// the argument that does not fit.
#[test]
fn shapes_that_do_not_broadcast_are_errors() {
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss) in of_two_inputs() {
                let of = |input: &[usize], input2: &[usize], target: &[usize]| {
                    let tensors = shaped(&*loss, input, input2, target);
                    loss.evaluate(&ctx, &tensors.view().wants(Want::LOSS)).map(|_| ())
                };
                for (shapes, argument) in [
                    (([&[3, 4][..], &[3, 5], &[3, 4]]), "input2"),
                    (([&[3, 4], &[3, 4], &[2, 4]]), "target"),
                    (([&[3], &[4], &[1]]), "input2"),
                ] {
                    let got = of(shapes[0], shapes[1], shapes[2]);
                    let right = matches!(&got, Err(Error::Shape { argument: named, .. }) if *named == argument);
                    rows.row(format!("{place} {name} {shapes:?}"), ensure(right, || format!("{got:?}")));
                }
                let got = of(&[2, 1, 3, 1, 2], &[1, 4, 1, 5, 1], &[]);
                let right = matches!(&got, Err(Error::Unsupported { .. }));
                rows.row(format!("{place} {name} five groups"), ensure(right, || format!("{got:?}")));
            }
        }
    });
}

/// A target of a loss with one input, as PyTorch has it for this loss alone: the gradient keeps the shape of the input.
#[test]
fn the_target_of_hinge_embedding_broadcasts() {
    table(|rows| {
        let shapes: [[&[usize]; 2]; 5] =
            [[&[5, 5], &[1, 5]], [&[5, 5], &[5, 1]], [&[3, 4], &[4]], [&[1, 5], &[5, 5]], [&[2, 3, 4], &[]]];
        for [input, target] in shapes {
            for reduction in [Reduction::None, Reduction::Mean] {
                let loss = HingeEmbedding::new().reduction(reduction);
                let tensors = shaped(&loss, input, &[], target);
                check(rows, &format!("{input:?} {target:?} {reduction:?}"), &loss, &tensors);
                let grad =
                    loss.evaluate(&gpu(), &tensors.view()).map(|output| output.grad_input.map(|g| g.shape().to_vec()));
                rows.row(
                    format!("{input:?} {target:?} gradient"),
                    ensure(grad == Ok(Some(input.to_vec())), || format!("{grad:?}")),
                );
            }
        }
    });
}

/// Weights of classes that differ from row to row, in every shape: what one multiplication per element makes of them.
#[test]
fn weights_of_multilabel_soft_margin_broadcast_to_the_logits() {
    table(|rows| {
        for (place, ctx) in places() {
            for shape in [&[5, 5][..], &[6, 4], &[70, 3], &[2, 300], &[2, 3, 4]] {
                let last = shape[shape.len() - 1];
                let mut ones = shape.to_vec();
                ones.iter_mut().take(shape.len() - 1).for_each(|size| *size = 1);
                let mut columns = shape.to_vec();
                columns[shape.len() - 1] = 1;
                for own in [shape.to_vec(), vec![last], ones, columns, vec![1], Vec::new()] {
                    let mut next = 0;
                    let weight = ArrayD::from_shape_simple_fn(IxDyn(&own), || {
                        next = (next + 4) % 9;
                        next as f32 * 0.375
                    });
                    let loss = MultiLabelSoftMargin::new().reduction(Reduction::None);
                    let tensors = loss.example_inputs(shape, 5);
                    let got = loss.clone().weight(weight.view()).evaluate(&ctx, &tensors.view());
                    // One class by itself has the loss of its element.
                    let mut single = tensors.clone();
                    let count: usize = shape.iter().product();
                    let columns =
                        |values: &ArrayD<f32>| values.to_shape(IxDyn(&[count, 1])).expect("elements").to_owned();
                    single.input = columns(&tensors.input);
                    let OwnedTarget::Values(y) = &tensors.target else { panic!("{loss:?} has labels as targets") };
                    single.target = OwnedTarget::Values(columns(y));
                    let exact = loss.reference(&single.to_f64().view()).expect("a valid call");
                    let wide = weight.broadcast(IxDyn(shape)).expect("weights that broadcast");
                    let weighed = |part: &Option<ArrayD<f64>>| {
                        let part =
                            part.as_ref().expect("an output").to_shape(IxDyn(shape)).expect("elements").to_owned();
                        part * wide.mapv(|w| f64::from(w) / last as f64)
                    };
                    let expected = Output {
                        loss: Some(weighed(&exact.loss).sum_axis(Axis(shape.len() - 1))),
                        grad_input: Some(weighed(&exact.grad_input)),
                        grad_input2: None,
                        grad_target: None,
                        stats: None,
                    };
                    let compared = got
                        .map_err(reason)
                        .and_then(|got| outputs(&got, &expected, cases::scales(&loss, &tensors), TOLERANCE));
                    rows.row(format!("{place} {shape:?}, weight {own:?}"), compared);
                }
            }
            let wrong = MultiLabelSoftMargin::new().weight(ArrayD::ones(IxDyn(&[2, 5])));
            let got = wrong.evaluate(&ctx, &wrong.example_inputs(&[5, 5], 1).view());
            let expected = "one that broadcasts to the input's, [5, 5]";
            let right = matches!(&got, Err(Error::Shape { argument: "weight", expected: e, .. }) if e == expected);
            rows.row(format!("{place} weights that do not"), ensure(right, || format!("{got:?}")));
        }
    });
}

/// Weights of every shape that broadcasts to (3, 4, 2, 5), alone and as pos_weight, and both with different shapes.
#[test]
fn weights_broadcast_to_the_input() {
    const SHAPE: [usize; 4] = [3, 4, 2, 5];
    const WEIGHTS: [&[usize]; 9] =
        [&[], &[1], &[5], &[2, 1], &[4, 1, 1], &[3, 1, 1, 1], &[3, 1, 2, 1], &[1, 4, 1, 5], &[3, 4, 2, 5]];
    let weight = |shape: &[usize]| {
        let mut next = 0;
        ArrayD::from_shape_simple_fn(IxDyn(shape), || {
            next = (next + 5) % 13;
            next as f32 * 0.25
        })
    };
    let wide = |small: &ArrayD<f32>| small.broadcast(IxDyn(&SHAPE)).expect("it broadcasts").to_owned();
    table(|rows| {
        for shape in WEIGHTS {
            let (w, other) = (weight(shape), weight(&[4, 1, 1]));
            type Make<'a> = &'a dyn Fn(ArrayViewD<'_, f32>, ArrayViewD<'_, f32>) -> Box<dyn Loss>;
            let makes: [(&str, Make<'_>); 4] = [
                ("Bce weight", &|w, _| Box::new(Bce::new().weight(w))),
                ("BceWithLogits weight", &|w, _| Box::new(BceWithLogits::new().weight(w))),
                ("BceWithLogits pos_weight", &|w, _| Box::new(BceWithLogits::new().pos_weight(w))),
                ("BceWithLogits both", &|w, p| Box::new(BceWithLogits::new().weight(w).pos_weight(p))),
            ];
            for (name, make) in makes {
                let (small, stretched) = (make(w.view(), other.view()), make(wide(&w).view(), wide(&other).view()));
                for reduction in [Reduction::None, Reduction::Mean] {
                    let (small, stretched) = (small.with_reduction(reduction), stretched.with_reduction(reduction));
                    let tensors = cases::with_upstream(&*small, &small.example_inputs(&SHAPE, 5));
                    let want = cases::everything(&*small, &tensors);
                    let name = format!("{name} {shape:?} {reduction:?}");
                    check(rows, &name, &*small, &tensors);
                    for (place, ctx) in places() {
                        let of =
                            |loss: &dyn Loss| loss.evaluate(&ctx, &tensors.view().wants(want)).expect("a valid call");
                        let same = bits(&of(&*small)) == bits(&of(&*stretched));
                        let outcome = ensure(same, || "differs from weights that are stretched by hand");
                        rows.row(format!("{name} {place}"), outcome);
                    }
                }
            }
        }
    });
}

// ---- Masks ----------------------------------------------------------------------------------------------------------

fn masked(loss: &dyn Loss, shape: &[usize], fill: Option<f32>, mask: impl Fn(usize) -> bool) -> OwnedTensors {
    let mut tensors = loss.example_inputs(shape, 6);
    let mut at = 0..;
    let mask = ArrayD::from_shape_simple_fn(IxDyn(shape), || mask(at.next().unwrap_or(0)));
    if let (Some(fill), OwnedTarget::Values(targets)) = (fill, &mut tensors.target) {
        for ((x, t), _) in tensors.input.iter_mut().zip(targets).zip(&mask).filter(|(_, masked)| **masked) {
            (*x, *t) = (fill, fill);
        }
    }
    tensors.ignore_mask = Some(mask);
    tensors
}

/// Whatever a masked item holds: loss 0, gradients 0, not counted by the mean; the others are as the reference has
/// them. More items than one workgroup of a reduction counts.
#[test]
fn masked_items_have_no_part_in_the_result_whatever_they_hold() {
    assert!(!with_mask().is_empty() || LOSSES.len() < 3, "no loss takes a mask");
    table(|rows| {
        for shape in [[5, 4], [3, 4], [5_001, 4]] {
            for (name, loss) in with_mask() {
                for fill in [None, Some(f32::NAN), Some(f32::INFINITY), Some(-7.5)] {
                    let tensors = masked(&*loss, &shape, fill, |at| at % 3 == 1);
                    for (reduction, loss) in cases::reductions(&*loss, &tensors) {
                        let name = format!("{name} {reduction:?} {shape:?} filled with {fill:?}");
                        let tensors = cases::with_upstream(&*loss, &tensors);
                        check(rows, &name, &*loss, &tensors);
                        let want = cases::everything(&*loss, &tensors);
                        for (place, ctx) in places() {
                            let output = loss.evaluate(&ctx, &tensors.view().wants(want));
                            let outcome = output.map_err(reason).and_then(|output| {
                                let masks = tensors.ignore_mask.iter().flatten();
                                let unreduced = output.loss.filter(|_| reduction == Reduction::None);
                                let parts = [unreduced, output.grad_input, output.grad_target];
                                let zero = |part: &ArrayD<f32>| {
                                    masks.clone().zip(part).all(|(&masked, &v)| !masked || v == 0.0)
                                };
                                ensure(parts.iter().flatten().all(zero), || "a masked item is not 0")
                            });
                            rows.row(format!("{name} {place}"), outcome);
                        }
                    }
                }
            }
        }
    });
}

/// The mean over what is not masked is the mean of a batch without the masked items.
#[test]
fn a_masked_mean_is_the_mean_of_the_rest() {
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss) in with_mask() {
                let loss = loss.with_reduction(Reduction::Mean);
                // Whole rows, so that weights along the last axis stay with their items.
                let tensors = masked(&*loss, &[6, 4], Some(f32::NAN), |at| at / 4 % 2 == 1);
                let keep = |values: &ArrayD<f32>| values.select(Axis(0), &[0, 2, 4]);
                let OwnedTarget::Values(targets) = &tensors.target else { continue };
                let rest = OwnedTensors::new(keep(&tensors.input), OwnedTarget::Values(keep(targets)));
                let of = |tensors: &OwnedTensors| {
                    let output = loss.evaluate(&ctx, &tensors.view().wants(Want::LOSS)).expect("a valid call");
                    output.scalar().unwrap_or(f32::NAN)
                };
                let (got, expected) = (of(&tensors), of(&rest));
                let near = (got - expected).abs() <= 1e-6 * expected.abs();
                rows.row(format!("{place} {name}"), ensure(near, || format!("{got}, the rest {expected}")));
            }
        }
    });
}

#[test]
fn a_mean_of_masked_items_only_is_that_of_an_empty_batch() {
    table(|rows| {
        for (place, ctx) in places() {
            for (name, loss) in with_mask() {
                let tensors = masked(&*loss, &[3, 4], Some(f32::NAN), |_| true);
                for (reduction, expected) in [(Reduction::Mean, f32::NAN), (Reduction::Sum, 0.0)] {
                    let loss = loss.with_reduction(reduction);
                    let output =
                        loss.evaluate(&ctx, &tensors.view().wants(Want::LOSS | Want::GRAD)).expect("a valid call");
                    let got = output.scalar().unwrap_or(-1.0);
                    let right = got == expected || got.is_nan() && expected.is_nan();
                    let zero = output.grad_input.iter().flatten().all(|&g| g == 0.0);
                    let outcome = ensure(right && zero, || format!("{got}, {:?}", output.grad_input));
                    rows.row(format!("{place} {name} {reduction:?}"), outcome);
                }
            }
        }
    });
}

/// With a mask and weights a kernel binds nine buffers, one more than WebGPU promises: such a device is told so, and
/// what it can do instead.
#[test]
fn a_mask_with_weights_needs_more_bindings_than_webgpu_promises() {
    let small = own_device(wgpu::Features::empty(), wgpu::Limits::default());
    let w = ArrayD::from_elem(IxDyn(&[4]), 0.5_f32);
    let weighted = BceWithLogits::new().weight(w.view()).pos_weight(w.view());
    let tensors = masked(&weighted, &[3, 4], None, |at| at % 2 == 0);
    let want = Want::LOSS | Want::GRAD;
    match weighted.evaluate(&small, &tensors.view().wants(want)) {
        Ok(output) => {
            let cpu = weighted.evaluate(&Context::cpu(), &tensors.view().wants(want)).expect("a valid call");
            let scales = cases::scales(&weighted, &tensors);
            outputs(&output, &compare::wide(&cpu), scales, TOLERANCE).unwrap_or_else(|e| panic!("{e}"));
        }
        Err(error) => {
            assert!(matches!(error, Error::Unsupported { .. }), "{error}");
            assert!(error.to_string().contains("8 storage buffers"), "{error}");
        }
    }
}
