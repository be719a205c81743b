//! Proves that 16-bit storage changes nothing but how numbers are stored: the values of the call in f32 on the same
//! numbers, its gradient rounded once, for every one of the 65 536 halves and at every boundary of rounding.

use deeploss::internals::{OwnedTarget, OwnedTensors, TensorId};
use deeploss::{
    Bce, BceWithLogits, Context, CrossEntropy, Dtype, Error, Evaluate, LOSSES, Loss, MarginRanking, Nll, Output,
    Problem, Reduction, RowStrategy, Storage, Tensors, Want,
};
use half::{bf16, f16};
use ndarray::{Array1, Array2, ArrayD, Axis, IxDyn, array, s};

use crate::support::compare::{self, TOLERANCE};
use crate::support::resident::{self, Resident, UNTOUCHED};
use crate::support::values::{round, unreduced};
use crate::support::{cases, ensure, facts, gpu, own_device, places, reason, table};

const HALVES: [Dtype; 2] = [Dtype::F16, Dtype::Bf16];
/// Of input and gradient: every combination, and those that the plumbing of most losses is tested with.
const ALL: [[Dtype; 2]; 8] = [
    [Dtype::F16, Dtype::F16],
    [Dtype::Bf16, Dtype::Bf16],
    [Dtype::F16, Dtype::F32],
    [Dtype::F32, Dtype::Bf16],
    [Dtype::F16, Dtype::Bf16],
    [Dtype::Bf16, Dtype::F16],
    [Dtype::Bf16, Dtype::F32],
    [Dtype::F32, Dtype::F16],
];

/// Equal bits, any NaN like any other.
fn same(what: &str, got: Option<&ArrayD<f32>>, expected: Option<&ArrayD<f32>>) -> Result<(), String> {
    compared(what, got, expected, |a, b| a.to_bits() == b.to_bits())
}

/// Equal up to the order of a sum, whose last digits may fall on the other side of a boundary of rounding: lanes share out rows by
/// words where elements have 16 bits. Infinities and NaN are the same.
fn alike(what: &str, got: Option<&ArrayD<f32>>, expected: Option<&ArrayD<f32>>, dtype: Dtype) -> Result<(), String> {
    let spacing = match dtype {
        Dtype::F16 => 1e-3,
        Dtype::Bf16 => 8e-3,
        _ => 2e-6,
    };
    let finite = expected.into_iter().flatten().filter(|v| v.is_finite());
    let largest = finite.fold(0.0_f32, |most, v| most.max(v.abs()));
    compared(what, got, expected, |a, b| a == b || (a - b).abs() <= spacing * b.abs() + 1e-7 * largest)
}

fn compared(
    what: &str,
    got: Option<&ArrayD<f32>>,
    expected: Option<&ArrayD<f32>>,
    are_equal: impl Fn(f32, f32) -> bool,
) -> Result<(), String> {
    let (Some(got), Some(expected)) = (got, expected) else {
        let both_missing = got.is_none() && expected.is_none();
        return ensure(both_missing, || format!("{what}: there or missing where it was not expected so"));
    };
    let differs = |(&a, &b): (&f32, &f32)| !(are_equal(a, b) || (a.is_nan() && b.is_nan()));
    match got.iter().zip(expected).position(differs) {
        _ if got.shape() != expected.shape() => Err(format!("{what}: shape {:?}", got.shape())),
        None => Ok(()),
        Some(at) => {
            let of = |values: &ArrayD<f32>| values.iter().nth(at).copied().unwrap_or_default();
            Err(format!("{what}: {:e} at element {at}, in f32 {:e}", of(got), of(expected)))
        }
    }
}

/// `got` is what `wide`, computed from the same values in f32, becomes when its gradient is stored.
fn rounded_once(got: &Output, wide: &Output, grad_dtype: Dtype) -> Result<(), String> {
    let narrow = wide.grad_input.as_ref().map(|gradient| gradient.mapv(|v| round(v, grad_dtype)));
    alike("loss", got.loss.as_ref(), wide.loss.as_ref(), Dtype::F32)?;
    alike("grad_input", got.grad_input.as_ref(), narrow.as_ref(), grad_dtype)?;
    alike("grad_input2", got.grad_input2.as_ref(), wide.grad_input2.as_ref(), Dtype::F32)?;
    alike("grad_target", got.grad_target.as_ref(), wide.grad_target.as_ref(), Dtype::F32)
}

fn run(
    loss: &dyn Loss,
    tensors: &OwnedTensors,
    want: Want,
    dtypes: [Dtype; 2],
    strategy: Option<RowStrategy>,
) -> Result<Output, Error> {
    run_on(&gpu(), loss, tensors, want, dtypes, strategy)
}

fn run_on(
    ctx: &Context,
    loss: &dyn Loss,
    tensors: &OwnedTensors,
    want: Want,
    dtypes: [Dtype; 2],
    strategy: Option<RowStrategy>,
) -> Result<Output, Error> {
    let [input, grad] = dtypes;
    let problem = cases::problem(tensors, want).input_dtype(input).grad_dtype(grad);
    let prepared = loss.prepare_with(ctx, &problem, strategy)?;
    Resident::new_as(ctx, loss, tensors, want, dtypes)?.run(ctx, &prepared)
}

/// One call in these types against the same call in f32.
fn check(
    loss: &dyn Loss,
    tensors: &OwnedTensors,
    dtypes: [Dtype; 2],
    strategy: Option<RowStrategy>,
) -> Result<(), String> {
    let mut tensors = tensors.clone();
    tensors.input.mapv_inplace(|v| round(v, dtypes[0]));
    let want = cases::everything(loss, &tensors);
    let wide = run(loss, &tensors, want, [Dtype::F32; 2], strategy).map_err(reason)?;
    let got = run(loss, &tensors, want, dtypes, strategy).map_err(reason)?;
    rounded_once(&got, &wide, dtypes[1])
}

fn example_inputs(loss: &dyn Loss, shape: &[usize]) -> Option<OwnedTensors> {
    cases::example_inputs(loss, shape, 17).map(|tensors| cases::with_upstream(loss, &tensors))
}

// ---- Losses and strategies ------------------------------------------------------------------------------------------

/// Rows that share words, alone and in tiles with a tail; whole fours; groups of lanes; a class axis that is not last.
/// A pair of types for each loss and shape, by turns.
#[test]
fn every_loss_computes_in_f32_whatever_the_storage() {
    const SHAPES: [&[usize]; 3] = [&[5, 7], &[2, 516], &[2, 5, 3]];
    table(|rows| {
        for (number, info) in LOSSES.iter().enumerate() {
            for (place, shape) in SHAPES.into_iter().enumerate() {
                let loss = (info.variants)(shape[1]).remove(0).with_reduction(Reduction::None);
                let Some(tensors) = example_inputs(&*loss, shape) else { continue };
                let dtypes = ALL[(number + place) % 4];
                rows.row(format!("{} {shape:?} {dtypes:?}", info.name), check(&*loss, &tensors, dtypes, None));
            }
        }
    });
}

/// All pairs of types by single elements and by fours; then the losses' fullest variants by their mean, with a tile's
/// tail and by groups of lanes.
#[test]
fn every_pair_of_types_is_f32_rounded_once() {
    table(|rows| {
        for name in ["cross_entropy", "binary_cross_entropy_with_logits"] {
            let info = LOSSES.iter().find(|info| info.name == name).expect("a loss of the table");
            let mut compare = |loss: Option<&dyn Loss>, shape: [usize; 2], reduction, dtypes| {
                let loss = loss.expect("a variant").with_reduction(reduction);
                let tensors = example_inputs(&*loss, &shape).expect("every loss takes (N, C)");
                rows.row(format!("{loss:?} {shape:?} {dtypes:?}"), check(&*loss, &tensors, dtypes, None));
            };
            for (shape, dtypes) in [[5, 7], [4, 16]].into_iter().flat_map(|shape| ALL.map(|dtypes| (shape, dtypes))) {
                compare((info.variants)(shape[1]).first().map(|loss| &**loss), shape, Reduction::None, dtypes);
            }
            for (shape, dtype) in [([7, 10], Dtype::F16), ([3, 1003], Dtype::Bf16)] {
                compare((info.variants)(shape[1]).last().map(|loss| &**loss), shape, Reduction::Mean, [dtype; 2]);
            }
        }
    });
}

/// A long tensor of no whole number of fours is stored by fours up to its last chunk, then by single elements.
#[test]
fn a_long_tensor_is_stored_by_two_dispatches() {
    let loss = BceWithLogits::new().reduction(Reduction::None);
    let tensors = example_inputs(&loss, &[3, 87_383]).expect("any shape");
    let problem = cases::problem(&tensors, Want::LOSS | Want::GRAD).input_dtype(Dtype::Bf16).grad_dtype(Dtype::F16);
    assert_eq!(loss.prepare(&gpu(), &problem).expect("a plain call").plan().dispatches().len(), 2);
    table(|rows| {
        for dtypes in &ALL[4..6] {
            rows.row(format!("{dtypes:?}"), check(&loss, &tensors, *dtypes, None));
        }
    });
}

/// The ways of going about rows that the plan of this adapter does not take by itself.
#[test]
fn every_strategy_stores_alike() {
    let mut forced: Vec<(RowStrategy, [usize; 2])> = vec![
        (RowStrategy::Thread, [5, 7]),
        (RowStrategy::Thread, [4, 16]),
        (RowStrategy::Tile { rows: 1 }, [3, 64]),
        (RowStrategy::Tile { rows: 4 }, [6, 15]),
        (RowStrategy::Staged, [70, 10]),
        (RowStrategy::Staged, [67, 7]),
    ];
    let lanes = |lanes, held| RowStrategy::Lanes { lanes, held };
    for way in [lanes(64, 1), lanes(8, 3), lanes(8, 0)] {
        forced.extend([261, 264].map(|classes| (way, [5, classes])));
    }
    forced.extend([1003, 1000].map(|classes| (RowStrategy::Split { lanes: 8, parts: 2 }, [3, classes])));
    table(|rows| {
        let loss = CrossEntropy::new().label_smoothing(0.1);
        for (strategy, shape) in forced {
            let tensors = example_inputs(&loss, &shape).expect("every loss takes (N, C)");
            for dtype in HALVES {
                let outcome = check(&loss, &tensors, [dtype; 2], Some(strategy));
                rows.row(format!("{strategy:?} {shape:?} {dtype:?}"), outcome);
            }
        }
    });
}

/// A broadcast input's gradient is summed in f32, and stored by the last step of the sum.
#[test]
fn the_gradient_of_a_broadcast_input_is_rounded_when_it_is_summed() {
    let tensors = cases::ranked_pairs();
    table(|rows| {
        for dtypes in ALL {
            rows.row(format!("{dtypes:?}"), check(&MarginRanking::new(), &tensors, dtypes, None));
        }
    });
}

/// Classes by eights move two fours of 16-bit numbers at once, and a lane has neighbouring fours then: sums in another
/// order than in f32, though in the same one whatever the types. Values that all types hold exactly.
#[test]
fn eights_are_summed_alike_whatever_the_types() {
    let mut forced: Vec<(RowStrategy, [usize; 2])> =
        vec![(RowStrategy::Thread, [4, 24]), (RowStrategy::Split { lanes: 8, parts: 2 }, [3, 1000])];
    for (lanes, held, shape) in [(64, 0, [3, 264]), (64, 1, [3, 264]), (8, 0, [3, 1000]), (8, 2, [3, 1000])] {
        forced.push((RowStrategy::Lanes { lanes, held }, shape));
    }
    table(|rows| {
        let loss = CrossEntropy::new().label_smoothing(0.1);
        for (strategy, shape) in forced {
            let mut tensors = example_inputs(&loss, &shape).expect("every loss takes (N, C)");
            tensors.input.mapv_inplace(|v| (16.0 * v).round().clamp(-120.0, 120.0) / 16.0);
            let want = cases::everything(&loss, &tensors);
            let call = |dtypes| run(&loss, &tensors, want, dtypes, Some(strategy)).map_err(reason);
            let wide = call([Dtype::F16, Dtype::F32]);
            let oracle = loss.reference(&tensors.to_f64().view().wants(want)).expect("a sample");
            let close = wide
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|wide| compare::outputs(wide, &oracle, cases::scales(&loss, &tensors), TOLERANCE));
            rows.row(format!("{strategy:?} {shape:?} and the reference"), close);
            for dtypes in ALL {
                let outcome = wide.clone().and_then(|wide| rounded_once(&call(dtypes)?, &wide, dtypes[1]));
                rows.row(format!("{strategy:?} {shape:?} {dtypes:?}"), outcome);
            }
        }
    });
}

/// What is infinite, NaN or ignored; an ignored row's gradient is exactly 0.
#[test]
fn edges_are_those_of_f32() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let logits = array![
        [0.5, -inf, 2.0],
        [-inf, 1.0, 0.25],
        [-inf, -inf, -inf],
        [inf, 0.0, 1.0],
        [nan, 1.0, 2.0],
        [nan, inf, -inf],
        [-0.0, 60_000.0, -60_000.0],
    ];
    let labels = Array1::from(vec![0_i64, 0, 1, 0, 2, -100, 1]);
    let tensors = OwnedTensors::new(logits.into_dyn(), OwnedTarget::Indices(labels.into_dyn()));
    table(|rows| {
        for reduction in [Reduction::None, Reduction::Mean] {
            let loss = CrossEntropy::new().reduction(reduction);
            for dtypes in &ALL[..4] {
                rows.row(format!("{reduction:?} {dtypes:?}"), check(&loss, &tensors, *dtypes, None));
            }
        }
        for dtype in HALVES {
            let mut tensors = tensors.clone();
            tensors.input.mapv_inplace(|v| round(v, dtype));
            let got = run(&CrossEntropy::new(), &tensors, Want::LOSS | Want::GRAD, [dtype; 2], None);
            let ignored = got.map_err(reason).and_then(|got| {
                let gradient = got.grad_input.ok_or("no gradient")?;
                let row: Vec<u32> = gradient.index_axis(Axis(0), 5).iter().map(|v| v.to_bits()).collect();
                ensure(row == [0; 3], || format!("an ignored row's gradient has the bits {row:x?}"))
            });
            rows.row(format!("ignored row, {dtype:?}"), ignored);
        }
    });
}

// ---- Conversions ----------------------------------------------------------------------------------------------------

/// NaN in one row leaves its neighbours alone where rows are shorter than the block that reads them by eights.
#[test]
fn a_row_read_by_eights_ends_where_it_ends() {
    let mut logits = ArrayD::from_shape_fn(IxDyn(&[3, 24]), |at| (at[1] % 5) as f32);
    logits.index_axis_mut(Axis(0), 1).fill(f32::NAN);
    let tensors = OwnedTensors::new(logits, OwnedTarget::Indices(ArrayD::zeros(IxDyn(&[3]))));
    let loss = CrossEntropy::new().reduction(Reduction::None);
    let lanes = [(64, 0), (8, 0), (8, 1), (4, 2)].map(|(lanes, held)| RowStrategy::Lanes { lanes, held });
    let strategies = lanes.into_iter().chain([RowStrategy::Thread]);
    table(|rows| {
        for strategy in strategies {
            for dtypes in [[Dtype::F32, Dtype::Bf16], [Dtype::Bf16, Dtype::F32], [Dtype::Bf16, Dtype::Bf16]] {
                let outcome = run(&loss, &tensors, Want::LOSS | Want::GRAD, dtypes, Some(strategy))
                    .map_err(reason)
                    .and_then(|got| {
                        let losses = got.loss.ok_or("no loss")?;
                        let nan: Vec<bool> = losses.iter().map(|loss| loss.is_nan()).collect();
                        ensure(nan == [false, true, false], || format!("{losses}"))
                    });
                rows.row(format!("{strategy:?} {dtypes:?}"), outcome);
            }
        }
    });
}

/// Software adapters move words of 64 bits, if their device has them: the same bits as by words of 32. Rows of whole
/// eights and of whole fours, a thread each, and tiles with a tail; items likewise.
#[test]
fn words_of_either_size_hold_the_same_numbers() {
    let narrow = own_device(wgpu::Features::empty(), wgpu::Limits::default());
    let facts = facts();
    assert!(facts.int64 || !facts.is_cpu, "a software adapter without 64-bit integers: nothing to compare");
    table(|rows| {
        for (number, info) in LOSSES.iter().enumerate() {
            // A software driver takes seconds to compile a tile: one of the two for each loss.
            for shape in [[2, 36], if number % 2 == 0 { [3, 24] } else { [5, 10] }] {
                let loss = (info.variants)(shape[1]).remove(0).with_reduction(Reduction::None);
                let Some(tensors) = example_inputs(&*loss, &shape) else { continue };
                let want = cases::everything(&*loss, &tensors);
                let types = [[Dtype::F32; 2], ALL[number % ALL.len()]];
                for dtypes in types.into_iter().take(if shape[1] == 36 { 2 } else { 1 }) {
                    let of = |ctx| run_on(ctx, &*loss, &tensors, want, dtypes, None).map_err(reason);
                    let outcome = of(&gpu()).and_then(|wide| rounded_once(&wide, &of(&narrow)?, dtypes[1]));
                    rows.row(format!("{} {shape:?} {dtypes:?}", info.name), outcome);
                }
            }
        }
    });
}

/// By fours, and one element at a time: classes are then not neighbours.
fn layouts(count: usize) -> [Vec<usize>; 2] {
    [vec![count, 1], vec![1, 1, count]]
}

/// Rows of one class: `nll_loss` reads the log-probability and writes minus the upstream gradient.
fn single(values: &[f32], upstream: &[f32], shape: &[usize]) -> OwnedTensors {
    let rows: Vec<usize> = shape.iter().enumerate().filter(|&(axis, _)| axis != 1).map(|(_, &size)| size).collect();
    let labels = OwnedTarget::Indices(ArrayD::zeros(IxDyn(&rows)));
    let array = |values: &[f32], shape| ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).expect("a value each");
    let mut tensors = OwnedTensors::new(array(values, shape), labels);
    tensors.grad_output = Some(array(upstream, &rows));
    tensors
}

/// What the call in f32 makes of these values: the test is one of them. A device may flush what is subnormal in f32.
fn negated(got: Option<&ArrayD<f32>>, values: &[f32]) -> Result<(), String> {
    let exact = |(&g, &v): (&f32, &f32)| g == -v || (v.is_subnormal() && g == 0.0) || (g.is_nan() && v.is_nan());
    match got.into_iter().flatten().zip(values).find(|&pair| !exact(pair)) {
        Some((g, v)) => Err(format!("in f32 {g:e} from {v:e}")),
        None => Ok(()),
    }
}

fn half_values(dtype: Dtype) -> Vec<f32> {
    let of = |bits| if dtype == Dtype::F16 { f16::from_bits(bits).to_f32() } else { bf16::from_bits(bits).to_f32() };
    (0..=u16::MAX).map(of).collect()
}

/// A device with what is proven of it, and one of which nothing is: other files convert f16 there.
fn converters() -> [(&'static str, Context); 2] {
    [("proven", gpu()), ("not proven", own_device(wgpu::Features::empty(), wgpu::Limits::default()))]
}

#[test]
fn every_half_is_read_exactly() {
    let converters = converters();
    table(|rows| {
        let loss = Nll::new().reduction(Reduction::None);
        for dtype in HALVES {
            let values = half_values(dtype);
            for shape in layouts(values.len()) {
                let tensors = single(&values, &values, &shape);
                for (name, ctx) in &converters {
                    let of = |dtypes| run_on(ctx, &loss, &tensors, Want::LOSS, dtypes, None).map_err(reason);
                    let outcome = (|| {
                        let wide = of([Dtype::F32; 2])?;
                        negated(wide.loss.as_ref(), &values)?;
                        rounded_once(&of([dtype, Dtype::F32])?, &wide, Dtype::F32)
                    })();
                    rows.row(format!("{dtype:?} {shape:?} {name}"), outcome);
                }
            }
        }
    });
}

/// Every half, the value midway to the next, which goes to the even one, and the values of f32 beside that.
#[test]
fn every_boundary_of_rounding_is_kept() {
    let converters = converters();
    table(|rows| {
        let loss = Nll::new().reduction(Reduction::None);
        for dtype in HALVES {
            let boundaries = |&half: &f32| {
                let bits = half.to_bits();
                // Of subnormal f16 the fraction's last digit is worth more.
                let next = match dtype {
                    Dtype::F16 => f16::from_bits(f16::from_f32(half).to_bits().wrapping_add(1)).to_f32(),
                    _ => bf16::from_bits(bf16::from_f32(half).to_bits().wrapping_add(1)).to_f32(),
                };
                // Beyond the largest: where the next step would be.
                let middle = if half.is_finite() && next.is_infinite() && dtype == Dtype::F16 {
                    65_520_f32.copysign(half)
                } else if half.is_finite() && next.is_infinite() {
                    f32::from_bits(bits | 0x8000)
                } else {
                    ((f64::from(half) + f64::from(next)) / 2.0) as f32
                };
                let beside = |step: u32| f32::from_bits(middle.to_bits().wrapping_add(step));
                [half, middle, beside(1), beside(u32::MAX)]
            };
            let upstream: Vec<f32> = half_values(dtype).iter().flat_map(boundaries).collect();
            let inputs = vec![-1.0; upstream.len()];
            for shape in layouts(upstream.len()) {
                let tensors = single(&inputs, &upstream, &shape);
                for (name, ctx) in &converters {
                    let of = |dtypes| run_on(ctx, &loss, &tensors, Want::GRAD, dtypes, None).map_err(reason);
                    let outcome = (|| {
                        let wide = of([Dtype::F32; 2])?;
                        negated(wide.grad_input.as_ref(), &upstream)?;
                        rounded_once(&of([Dtype::F32, dtype])?, &wide, dtype)
                    })();
                    rows.row(format!("{dtype:?} {shape:?} {name}"), outcome);
                }
            }
        }
    });
}

// ---- Buffers --------------------------------------------------------------------------------------------------------

/// Ranges inside larger buffers: their neighbours stay as they were, and so does the other half of the last word of an
/// odd count.
#[test]
fn nothing_beside_the_tensors_is_written() {
    table(|rows| {
        let losses: [Box<dyn Loss>; 2] =
            [Box::new(unreduced()), Box::new(BceWithLogits::new().reduction(Reduction::None))];
        for (loss, shape) in losses.iter().flat_map(|loss| [[5, 7], [4, 16]].map(|shape| (loss, shape))) {
            let tensors = example_inputs(&**loss, &shape).expect("every loss takes (N, C)");
            for dtypes in &ALL[..2] {
                let mut tensors = tensors.clone();
                tensors.input.mapv_inplace(|v| round(v, dtypes[0]));
                let outcome = (|| {
                    let want = Want::LOSS | Want::GRAD;
                    let problem = cases::problem(&tensors, want).input_dtype(dtypes[0]).grad_dtype(dtypes[1]);
                    let prepared = loss.prepare(&gpu(), &problem).map_err(reason)?;
                    let packed = Resident::packed_as(&gpu(), &**loss, &tensors, want, *dtypes).map_err(reason)?;
                    let together = packed.run(&gpu(), &prepared).map_err(reason)?;
                    let apart = run(&**loss, &tensors, want, *dtypes, None).map_err(reason)?;
                    same("grad_input", together.grad_input.as_ref(), apart.grad_input.as_ref())?;
                    let range = packed.range(TensorId::GradInput).ok_or("no gradient")?;
                    let end = range.offset + 2 * tensors.input.len() as u64;
                    let written =
                        [packed.range(TensorId::Loss).map_or(0..0, |r| r.offset..r.offset + r.size), range.offset..end];
                    let all = resident::download(&gpu(), &range.buffer);
                    let untouched = UNTOUCHED.to_le_bytes();
                    let wrong = (0..all.len() as u64)
                        .filter(|at| written.iter().all(|range| !range.contains(at)))
                        .find(|&at| all[at as usize] != untouched[at as usize % 4]);
                    wrong.map_or(Ok(()), |at| Err(format!("byte {at} was written; the gradient ends at {end}")))
                })();
                rows.row(format!("{} {shape:?} {dtypes:?}", loss.info().name), outcome);
            }
        }
    });
}

/// Half as many bytes as in f32, in whole words; a word less is refused.
#[test]
fn buffers_hold_two_elements_to_a_word() {
    let tensors = CrossEntropy::new().example_inputs(&[3, 5], 1);
    let want = Want::LOSS | Want::GRAD;
    for dtype in HALVES {
        let problem = Problem::rows(3, 5).input_dtype(dtype).grad_dtype(dtype);
        let prepared = CrossEntropy::new().prepare(&gpu(), &problem).expect("a plain call");
        let resident = Resident::new_as(&gpu(), &CrossEntropy::new(), &tensors, want, [dtype; 2]).expect("a sample");
        let short = resident::upload(&gpu(), &[0; 28]);
        for argument in ["input", "grad_input"] {
            let mut buffers = resident.buffers();
            assert!(prepared.bind(&buffers).is_ok());
            let place = if argument == "input" { &mut buffers.input } else { &mut buffers.grad_input };
            *place = Some(short.as_entire_buffer_binding());
            match prepared.bind(&buffers).map(|_| ()) {
                Err(Error::Buffer { argument: named, expected, got }) => {
                    assert_eq!((named, expected.as_str()), (argument, "32 bytes from its offset on"));
                    assert!(got.starts_with("28 bytes"), "{got}");
                }
                other => panic!("{argument}: {other:?}"),
            }
        }
    }
}

/// The status names the value, widened, of an odd and an even element.
#[test]
fn an_invalid_input_is_reported_with_its_value() {
    for (dtypes, at) in ALL.into_iter().flat_map(|dtypes| [(dtypes, 2), (dtypes, 3)]) {
        let mut input = Array1::from_elem(7, 0.5_f32);
        input[at] = 1.5;
        let target = OwnedTarget::Values(Array1::zeros(7).into_dyn());
        let tensors = OwnedTensors::new(input.into_dyn(), target);
        for reduction in [Reduction::None, Reduction::Mean] {
            let got = run(&Bce::new().reduction(reduction), &tensors, Want::LOSS | Want::GRAD, dtypes, None);
            let expected = Error::Invalid { argument: "input", count: 1, first: at as u32, value: "1.5".into() };
            assert_eq!(got.err(), Some(expected), "{dtypes:?} {reduction:?}");
        }
    }
}

// ---- Host arrays ----------------------------------------------------------------------------------------------------

/// Transposed, reversed, every second element, empty: as the dense array in f32.
fn host<X: Storage>(narrow: fn(f32) -> X, widen: fn(X) -> f32) {
    let places = places();
    for (place, ctx) in &places {
        let ctx: &Context = ctx;
        let wide = Array2::from_shape_fn((7, 10), |(n, c)| ((n * 31 + c * 17) % 23) as f32 * 0.37 - 4.0);
        let values = wide.mapv(narrow);
        let views = [values.t(), values.slice(s![..;-1, ..]), values.slice(s![..;2, 1..;3]), values.slice(s![..0, ..])];
        for view in views {
            let dense = view.mapv(widen);
            let labels = Array1::from_shape_fn(view.nrows(), |n| (n % view.ncols()) as i64);
            let loss = CrossEntropy::new();
            let got = loss.evaluate(ctx, &Tensors::new(view, labels.view())).expect("a valid call");
            let expected = loss.evaluate(ctx, &Tensors::new(dense.view(), labels.view())).expect("a valid call");
            let name = format!("{place} {:?} {:?}", X::DTYPE, view.shape());
            same(&name, got.loss.as_ref(), expected.loss.as_ref()).unwrap();
            let got = got.grad_input.expect("wanted").mapv(widen);
            let expected = expected.grad_input.expect("wanted").mapv(|v| round(v, X::DTYPE));
            same(&name, Some(&got), Some(&expected)).unwrap();
        }
        // Element-wise, with everything beside the input in f32.
        let targets = wide.mapv(|v| f32::from(v > 0.0));
        let upstream = wide.mapv(|v| v * 0.5);
        let call = Tensors::new(values.view(), targets.view()).grad_output(upstream.view());
        let loss = BceWithLogits::new().reduction(Reduction::None);
        let want = Want::LOSS | Want::GRAD | Want::GRAD_TARGET;
        let got = loss.evaluate(ctx, &call.wants(want)).expect("a valid call");
        let dense = values.mapv(widen);
        let call = Tensors::new(dense.view(), targets.view()).grad_output(upstream.view());
        let expected = loss.evaluate(ctx, &call.wants(want)).expect("a valid call");
        let gradient = got.grad_input.map(|gradient| gradient.mapv(widen));
        let got = Output {
            loss: got.loss,
            grad_input: gradient,
            grad_input2: None,
            grad_target: got.grad_target,
            stats: None,
        };
        rounded_once(&got, &expected, X::DTYPE).unwrap_or_else(|reason| panic!("{place} {:?}: {reason}", X::DTYPE));
    }
}

#[test]
fn host_arrays_of_any_strides_are_stored_as_halves() {
    host(f16::from_f32, f16::to_f32);
    host(bf16::from_f32, bf16::to_f32);
}

/// The reference has the last word on 16-bit calls too.
#[test]
fn the_values_are_those_of_the_reference() {
    let loss = CrossEntropy::new();
    let mut tensors = loss.example_inputs(&[9, 33], 4);
    tensors.input.mapv_inplace(|v| round(v, Dtype::Bf16));
    let want = Want::LOSS | Want::GRAD;
    let got = run(&loss, &tensors, want, [Dtype::Bf16, Dtype::F32], None).expect("a sample");
    let oracle = loss.reference(&tensors.to_f64().view().wants(want)).expect("a sample");
    let scales = cases::scales(&loss, &tensors);
    compare::outputs(&got, &oracle, scales, TOLERANCE).unwrap();
}
