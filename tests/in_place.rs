//! Proves that a gradient which overwrites the input is, bit for bit, that of the same call with a tensor of its own, with the same loss
//! and other outputs: for every loss, strategy, type and option, beside other tensors of the same page, which stay as they are.

use deeploss::internals::{OwnedTarget, OwnedTensors, TensorId};
use deeploss::{
    Bce, BceWithLogits, Buffers, Context, CrossEntropy, Dtype, Error, Evaluate, LOSSES, Loss, MarginRanking,
    MultiLabelMargin, Nll, Output, Problem, Reduction, RowStrategy, TargetKind, Want,
};
use ndarray::{ArrayD, IxDyn};

use crate::strategies::strategies;
use crate::support::compare::bits;
use crate::support::resident::{self, Asked, Pages, Resident};
use crate::support::soak::seeds;
use crate::support::values::round;
use crate::support::{cases, ensure, gpu, own_device, reason, table};

const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::Bf16];

fn problem(tensors: &OwnedTensors, want: Want, dtype: Dtype) -> Problem {
    cases::problem(tensors, want).input_dtype(dtype).grad_dtype(dtype)
}

/// A call with a gradient of its own, and the same call in place with the loss in the page of the logits.
fn check_on(
    ctx: &Context,
    loss: &dyn Loss,
    tensors: &OwnedTensors,
    want: Want,
    dtype: Dtype,
    strategy: Option<RowStrategy>,
) -> Result<(), String> {
    let mut tensors = tensors.clone();
    tensors.input.mapv_inplace(|v| round(v, dtype));
    let run = |in_place, pages| -> Result<Option<Output>, String> {
        let own = problem(&tensors, want, dtype);
        let problem = if in_place { own.grad_in_place() } else { own };
        let prepared = match loss.prepare_with(ctx, &problem, strategy) {
            // Lists of labels are never held, split or tiled.
            Err(Error::Unsupported { .. }) if strategy.is_some() && loss.info().name == "multilabel_margin_loss" => {
                return Ok(None);
            }
            prepared => prepared.map_err(reason)?,
        };
        let asked = Asked { want, dtypes: [dtype; 2], in_place, weight: None };
        let resident = Resident::placed(ctx, loss, &tensors, &asked, pages).map_err(reason)?;
        let output = resident.run(ctx, &prepared).map_err(reason)?;
        resident.check_guards(ctx)?;
        Ok(Some(output))
    };
    let expected = run(false, Pages::Each)?;
    let got = run(true, Pages::One)?;
    same(got.as_ref(), expected.as_ref())
}

fn same(got: Option<&Output>, expected: Option<&Output>) -> Result<(), String> {
    let (Some(got), Some(expected)) = (got, expected) else {
        return ensure(got.is_none() && expected.is_none(), || "one of both is refused");
    };
    let parts = bits(got).into_iter().zip(bits(expected));
    let different: Vec<_> = parts.enumerate().filter(|(_, (got, expected))| got != expected).collect();
    let Some((part, (Some(got), Some(expected)))) = different.first() else {
        return ensure(different.is_empty(), || "an output is missing");
    };
    let values = got.iter().zip(expected).map(|(&a, &b)| (f64::from_bits(a), f64::from_bits(b)));
    let at = got.iter().zip(expected).position(|(a, b)| a != b);
    let (a, b) = values.clone().nth(at.unwrap_or_default()).unwrap_or_default();
    Err(format!("output {part} differs at {at:?}: {a:e}, with a gradient of its own {b:e}"))
}

fn check(loss: &dyn Loss, tensors: &OwnedTensors, dtype: Dtype, strategy: Option<RowStrategy>) -> Result<(), String> {
    check_on(&gpu(), loss, tensors, cases::everything(loss, tensors), dtype, strategy)
}

// ---- Losses and strategies ------------------------------------------------------------------------------------------

/// The fullest variants of the losses over rows.
fn fullest_of_rows(shape: &[usize]) -> Vec<(String, Box<dyn Loss>, OwnedTensors)> {
    let sample = |(name, loss): (String, Box<dyn Loss>)| {
        let tensors = cases::example_inputs(&*loss, shape, 11).filter(|tensors| cases::has_rows(&*loss, tensors))?;
        Some((name, loss, tensors))
    };
    cases::fullest(shape[1]).into_iter().filter_map(sample).collect()
}

/// Every strategy at each of its shapes. A software driver takes a second or two for a kernel, so losses, types and reductions take
/// turns: in a soak all of them come round.
fn every_strategy(is_chosen: impl Fn(RowStrategy) -> bool) {
    const TURNS: usize = 6;
    table(|rows| {
        for seed in seeds() {
            let seed = seed as usize;
            let all = strategies().into_iter().filter(|(strategy, _)| is_chosen(*strategy));
            let shapes = all.flat_map(|(strategy, shapes)| shapes.into_iter().map(move |shape| (strategy, shape)));
            for (number, (strategy, shape)) in shapes.enumerate() {
                let losses = fullest_of_rows(shape).into_iter().enumerate();
                for (place, (name, loss, tensors)) in
                    losses.filter(|(place, _)| (number + seed + place).is_multiple_of(TURNS))
                {
                    let turn = number + place / 2 + seed / TURNS;
                    let loss = loss.with_reduction([Reduction::Mean, Reduction::None][turn % 2]);
                    let tensors = cases::with_upstream(&*loss, &tensors);
                    let dtype = DTYPES[turn % 3];
                    let outcome = check(&*loss, &tensors, dtype, Some(strategy));
                    rows.row(format!("{name} {shape:?} {strategy:?} {dtype:?}"), outcome);
                }
            }
        }
    });
}

// Two tests, which run side by side.

#[test]
fn every_strategy_of_single_invocations_overwrites_the_logits() {
    every_strategy(|strategy| strategy.lanes() == 1);
}

#[test]
fn every_strategy_of_groups_overwrites_the_logits() {
    every_strategy(|strategy| strategy.lanes() > 1);
}

/// Elements by eights, by fours and one by one, an odd number of them, and what the plan chooses for rows.
#[test]
fn every_loss_overwrites_its_input() {
    table(|rows| {
        for (number, shape) in [&[5, 7][..], &[3, 64], &[6, 10], &[2, 5, 3]].into_iter().enumerate() {
            for (place, (name, loss)) in cases::fullest(shape[1]).into_iter().enumerate() {
                let Some(tensors) = cases::example_inputs(&*loss, shape, 7) else { continue };
                // Rows have tests of their own.
                let turns = if cases::has_rows(&*loss, &tensors) { 4 } else { 2 };
                if (number + place) % turns > 0 {
                    continue;
                }
                let loss = loss.with_reduction([Reduction::None, Reduction::Mean][number / 2]);
                let tensors = cases::with_upstream(&*loss, &tensors);
                let dtype = DTYPES[(number + place / 2) % 3];
                rows.row(format!("{name} {shape:?} {dtype:?}"), check(&*loss, &tensors, dtype, None));
            }
        }
    });
}

// ---- What is read after others have written -------------------------------------------------------------------------

/// Statistics, weights and a mask, where every part of a row could see the gradients of another.
#[test]
fn statistics_and_losses_are_those_of_the_logits() {
    let lanes = |lanes, held| RowStrategy::Lanes { lanes, held };
    let ways = [
        (RowStrategy::Thread, [70, 33]),
        (RowStrategy::Staged, [70, 10]),
        (lanes(8, 0), [5, 1003]),
        (lanes(64, 2), [3, 2100]),
        (RowStrategy::Split { lanes: 8, parts: 8 }, [3, 4601]),
    ];
    table(|rows| {
        for (turn, (strategy, shape)) in ways.into_iter().enumerate() {
            let full = CrossEntropy::new().label_smoothing(0.1).softcap(20.0).z_loss(1e-3);
            let losses = [CrossEntropy::new(), full].into_iter().skip(turn % 2).step_by(if turn == 4 { 1 } else { 2 });
            for loss in losses {
                let mut tensors = cases::with_upstream(&loss, &loss.example_inputs(&shape, 5));
                tensors.sample_weight = Some(ArrayD::from_shape_fn(IxDyn(&shape[..1]), |at| 0.5 + at[0] as f32));
                tensors.ignore_mask = Some(ArrayD::from_shape_fn(IxDyn(&shape[..1]), |at| at[0] == 2));
                let want = Want::LOSS | Want::GRAD | Want::STATS;
                let dtype = DTYPES[turn % 3];
                let outcome = check_on(&gpu(), &loss, &tensors, want, dtype, Some(strategy));
                rows.row(format!("{loss:?} {strategy:?}"), outcome);
            }
        }
    });
}

/// NaN and infinities in some rows: those of masked classes are looked for once more, in all of a row.
#[test]
fn rows_with_infinities_are_read_before_they_are_written() {
    const VALUES: [f32; 4] = [f32::NEG_INFINITY, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let ways = [
        (RowStrategy::Thread, [9, 33]),
        (RowStrategy::Tile { rows: 2 }, [8, 10]),
        (RowStrategy::Lanes { lanes: 8, held: 1 }, [9, 203]),
        (RowStrategy::Split { lanes: 8, parts: 2 }, [9, 1003]),
    ];
    table(|rows| {
        for (turn, (strategy, shape)) in ways.into_iter().enumerate() {
            for (place, (name, loss, mut tensors)) in fullest_of_rows(&shape).into_iter().enumerate() {
                let looks_again = loss.info().name == "cross_entropy";
                if !looks_again && (place + turn) % 4 > 0 {
                    continue;
                }
                for (row, mut logits) in tensors.input.outer_iter_mut().enumerate().filter(|(row, _)| row % 2 == 1) {
                    logits.iter_mut().step_by(7).for_each(|v| *v = VALUES[row / 2 % 4]);
                }
                rows.row(format!("{name} {strategy:?}"), check(&*loss, &tensors, Dtype::F32, Some(strategy)));
            }
        }
    });
}

/// A chunk with one item out of proportion is computed once more, exactly, though the input is to be overwritten.
#[test]
fn chunks_that_are_computed_twice_are_overwritten_once() {
    table(|rows| {
        for (number, (name, loss)) in cases::fullest(4096).into_iter().enumerate() {
            let shape = [3, 4096 + 4 * (number % 2)];
            let loss = if number % 2 == 0 { loss } else { (loss.info().variants)(shape[1]).pop().expect("a variant") };
            let mut tensors = cases::example_inputs(&*loss, &shape, 3).expect("every loss takes (N, C)");
            if cases::has_rows(&*loss, &tensors) || loss.info().name == "binary_cross_entropy" {
                continue;
            }
            for (at, value) in [(17, f32::INFINITY), (90, f32::NAN), (5000, 3e30), (5001, -3e38)] {
                tensors.input.as_slice_mut().expect("a dense array")[at] = value;
            }
            for reduction in [Reduction::Mean, Reduction::None] {
                let loss = loss.with_reduction(reduction);
                let dtype = if number % 3 == 0 { Dtype::Bf16 } else { Dtype::F32 };
                rows.row(format!("{name} {reduction:?}"), check(&*loss, &tensors, dtype, None));
            }
        }
    });
}

/// By fours up to the last chunk, then one by one: two dispatches write one tensor.
#[test]
fn a_long_tensor_is_overwritten_by_two_dispatches() {
    let loss = BceWithLogits::new();
    let tensors = cases::with_upstream(&loss, &loss.example_inputs(&[3, 87_383], 4));
    table(|rows| {
        for dtype in DTYPES {
            rows.row(format!("{dtype:?}"), check(&loss, &tensors, dtype, None));
        }
    });
}

/// The gradient is as wide as the items first, and summed into the input's place.
#[test]
fn an_input_that_broadcasts_is_overwritten_by_its_sum() {
    let tensors = cases::ranked_pairs();
    table(|rows| {
        for dtype in DTYPES {
            for reduction in [Reduction::Mean, Reduction::None] {
                let loss = MarginRanking::new().reduction(reduction);
                let tensors = cases::with_upstream(&loss, &tensors);
                rows.row(format!("{dtype:?} {reduction:?}"), check(&loss, &tensors, dtype, None));
            }
        }
    });
}

/// Bands of whole samples, and bands that begin inside of what is bound, where lists of labels have a copy of their own.
#[test]
fn bands_are_overwritten_one_after_the_other() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::default() };
    let ctx = own_device(wgpu::Features::empty(), limits);
    table(|rows| {
        for shape in [&[300, 101][..], &[3, 129, 5, 25]] {
            for (name, loss) in cases::fullest(shape[1]) {
                let Some(tensors) = cases::example_inputs(&*loss, shape, 9) else { continue };
                let lists = loss.info().name == "multilabel_margin_loss";
                if !cases::has_rows(&*loss, &tensors) || lists && shape.len() > 2 {
                    continue;
                }
                let want = cases::everything(&*loss, &tensors);
                let outcome = check_on(&ctx, &*loss, &tensors, want, Dtype::F32, None);
                rows.row(format!("{name} {shape:?}"), outcome);
            }
        }
    });
}

/// More workgroups than there are rows: those without one read the last row while it is written.
#[test]
fn groups_without_a_row_change_nothing() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 32, ..wgpu::Limits::default() };
    let ctx = own_device(wgpu::Features::empty(), limits);
    let loss = CrossEntropy::new();
    let tensors = loss.example_inputs(&[65, 37], 6);
    let strategy = Some(RowStrategy::Lanes { lanes: 64, held: 0 });
    let want = Want::LOSS | Want::GRAD | Want::STATS;
    check_on(&ctx, &loss, &tensors, want, Dtype::F32, strategy).unwrap();
}

// ---- Invalid items, no items ----------------------------------------------------------------------------------------

/// Invalid items have gradient 0 and loss NaN, and the readback tells of them; of inputs not the value, which is overwritten.
#[test]
fn invalid_items_are_reported() {
    let outcome = |loss: &dyn Loss, tensors: &OwnedTensors, in_place| {
        let want = Want::LOSS | Want::GRAD;
        let own = problem(tensors, want, Dtype::F32);
        let prepared = loss.prepare(&gpu(), &if in_place { own.grad_in_place() } else { own }).expect("a sample");
        let asked = Asked { want, dtypes: [Dtype::F32; 2], in_place, weight: None };
        let resident = Resident::placed(&gpu(), loss, tensors, &asked, Pages::Each).expect("a sample");
        let error = resident.run(&gpu(), &prepared).expect_err("an invalid item");
        (bits(&resident.output(&resident.download(&gpu()))), error)
    };
    for reduction in [Reduction::Mean, Reduction::None] {
        let loss = Bce::new().reduction(reduction);
        let mut tensors = loss.example_inputs(&[4, 6], 1);
        tensors.input[[1, 1]] = 1.5;
        tensors.input[[3, 2]] = -0.5;
        let (own, known) = outcome(&loss, &tensors, false);
        let (in_place, error) = outcome(&loss, &tensors, true);
        assert_eq!(in_place, own);
        assert!(matches!(&known, Error::Invalid { value, .. } if value == "1.5"), "{known}");
        assert!(matches!(&error, Error::Invalid { argument: "input", count: 2, first: 7, .. }), "{error}");
        assert!(error.to_string().contains("overwritten by its gradient"), "{error}");

        let loss = Nll::new().reduction(reduction);
        let mut tensors = loss.example_inputs(&[6, 4], 1);
        if let OwnedTarget::Indices(labels) = &mut tensors.target {
            labels[2] = 4;
        }
        assert_eq!(outcome(&loss, &tensors, true), outcome(&loss, &tensors, false));
    }
}

#[test]
fn an_empty_batch_has_no_place_to_overwrite() {
    table(|rows| {
        for info in LOSSES {
            let loss = (info.variants)(5).remove(0);
            let tensors = loss.example_inputs(&[0, 5], 1);
            rows.row(info.name, check(&*loss, &tensors, Dtype::F32, None));
        }
    });
}

// ---- What is refused ------------------------------------------------------------------------------------------------

#[test]
fn what_cannot_be_overwritten_is_refused() {
    let loss = CrossEntropy::new();
    let refused = |problem: Problem| match loss.prepare(&gpu(), &problem) {
        Err(error @ Error::Value { argument: "grad_in_place", .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused(Problem::rows(4, 5).wants(Want::LOSS).grad_in_place()).contains("`Want::GRAD`"));
    let mixed = refused(Problem::rows(4, 5).input_dtype(Dtype::F16).grad_in_place());
    assert!(mixed.contains("`Problem::grad_dtype`") && mixed.contains("F16"), "{mixed}");

    let tensors = loss.example_inputs(&[64, 5], 1);
    let want = Want::LOSS | Want::GRAD;
    let prepared = loss.prepare(&gpu(), &problem(&tensors, want, Dtype::F32).grad_in_place()).expect("a sample");
    let own = Resident::new(&gpu(), &loss, &tensors, want).expect("a sample");
    match prepared.bind(&own.buffers()) {
        Err(error @ Error::Value { argument: "grad_input", .. }) => {
            assert!(error.to_string().contains("`Problem::grad_in_place`"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let buffers = Buffers { grad_input: None, ..own.buffers() };
    prepared.bind(&buffers).expect("buffers that serve");
    let input = own.range(TensorId::Input).expect("an input").binding();
    match prepared.bind(&Buffers { target: Some(input), ..buffers }) {
        Err(error @ Error::Buffer { argument: "input", .. }) => {
            assert!(error.to_string().contains("apart from that of `target`"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

/// Lists of labels have a copy of the logits, and only they.
#[test]
fn only_lists_of_labels_take_a_copy() {
    let scratch = |loss: &dyn Loss, target| {
        let problem = Problem::new(&[16, 1000], target);
        let bytes = |problem: &Problem| loss.prepare(&gpu(), problem).expect("a sample").scratch_bytes();
        bytes(&problem.clone().grad_in_place()) - bytes(&problem)
    };
    assert!(scratch(&CrossEntropy::new(), TargetKind::Indices) < 4096);
    assert!(scratch(&MultiLabelMargin::new(), TargetKind::Indices) >= 4 * 16 * 1000);
    assert_eq!(scratch(&BceWithLogits::new(), TargetKind::Values), 0);
}

/// A bound call runs again for what was written into its input meanwhile.
#[test]
fn a_bound_call_overwrites_its_input_each_time() {
    let loss = CrossEntropy::new();
    let want = Want::LOSS | Want::GRAD;
    let batches: Vec<OwnedTensors> = (0..3).map(|seed| loss.example_inputs(&[9, 7], seed)).collect();
    let prepared = loss.prepare(&gpu(), &problem(&batches[0], want, Dtype::F32).grad_in_place()).expect("a sample");
    let asked = Asked { want, dtypes: [Dtype::F32; 2], in_place: true, weight: None };
    let place = |batch| Resident::placed(&gpu(), &loss, batch, &asked, Pages::Each).expect("a sample");
    let resident = place(&batches[0]);
    let bound = prepared.bind(&resident.buffers()).expect("buffers that serve");
    for batch in &batches {
        let source = place(batch);
        let mut encoder = resident::encoder(&gpu());
        for tensor in [TensorId::Input, TensorId::Target] {
            let (from, to) = (source.range(tensor).expect("a range"), resident.range(tensor).expect("a range"));
            encoder.copy_buffer_to_buffer(&from.buffer, 0, &to.buffer, 0, from.size);
        }
        bound.record(&mut encoder);
        resident::submit(&gpu(), encoder);
        let alone = resident::run(&gpu(), &loss, batch, want, None).expect("a sample");
        assert_eq!(bits(&resident.output(&resident.download(&gpu()))), bits(&alone));
    }
}
