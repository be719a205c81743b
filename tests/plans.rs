//! Proves that the pure half refuses or serves whatever is asked of it: any shapes, options and limits, without overflow and without
//! panic, every row and item of an accepted plan once and in bounds.

use std::cell::Cell;

use deeploss::{
    AdapterFacts, CrossEntropy, Dtype, Error, Evaluate, Loss, MarginRanking, Problem, Reduction, TargetKind, Tensors,
    Want,
};
use proptest::prelude::*;

use crate::support::plans::{Asked, Case};
use crate::support::soak::{check, seeds};
use crate::support::{ensure, places, table};

/// Sizes as they are, sizes around the powers of two where something ends, and sizes that no memory holds.
fn size() -> impl Strategy<Value = usize> {
    let edge = (0_u32..63, -2_i64..=2).prop_map(|(power, off)| ((1_i64 << power) + off).max(0) as usize);
    prop_oneof![16 => 1_usize..70, 6 => 0_usize..5000, 3 => 30_000_usize..300_000, 2 => edge, 1 => Just(usize::MAX)]
}

fn shape() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(size(), 0..5)
}

fn facts() -> impl Strategy<Value = AdapterFacts> {
    let bytes = || prop_oneof![8 => 20_u32..34, 1 => 0_u32..64].prop_map(|power| 1_u64 << power);
    // Mostly as a device has it.
    let either = |common: &[u32], rare: &[u32]| prop_oneof![8 => prop::sample::select(common.to_vec()), 1 => prop::sample::select(rare.to_vec())];
    let lanes = either(&[0, 4, 8, 32], &[1, 64, 33]);
    let invocations = either(&[256, 1024], &[64, 128, 1, 0]);
    let workgroups = either(&[65_535, 32], &[1, 0, u32::MAX]);
    let memory = either(&[16_384, 32_768], &[1024, 0]);
    (
        any::<[bool; 5]>(),
        lanes,
        [bytes(), bytes()],
        prop_oneof![1 => 4_u32..8, 4 => 8_u32..20],
        0_u32..12,
        invocations,
        workgroups,
        memory,
    )
        .prop_map(
            |(
                [is_cpu, int64, exp2, fma, f16],
                lanes,
                [buffer, binding],
                buffers,
                alignment,
                invocations,
                workgroups,
                memory,
            )| {
                let mut facts = AdapterFacts::default();
                (facts.is_cpu, facts.int64, facts.f16) = (is_cpu, int64, f16);
                (facts.max_buffer, facts.max_binding, facts.max_storage_buffers) = (buffer, binding, buffers);
                facts.offset_alignment = 1 << alignment.clamp(5, 8);
                (facts.max_invocations, facts.max_workgroups, facts.max_workgroup_memory) =
                    (invocations, workgroups, memory);
                (facts.proven.exp2, facts.proven.fma, facts.proven.subgroup_lanes) = (exp2, fma, lanes);
                facts
            },
        )
}

fn case() -> impl Strategy<Value = Case> {
    let loss = prop_oneof![
        8 => (0_usize..64, 0_usize..16).prop_map(|(loss, variant)| Asked::Table(loss, variant)),
        1 => (0_usize..5).prop_map(Asked::ClassAxis),
        1 => shape().prop_map(Asked::Weighted),
    ];
    let dtype = || prop::sample::select(vec![Dtype::F32, Dtype::F16, Dtype::Bf16]);
    let reduction = prop::sample::select(
        [[Reduction::Mean, Reduction::None, Reduction::Sum].repeat(3), vec![Reduction::BatchMean]].concat(),
    );
    let want = prop_oneof![8 => Just(Want::LOSS | Want::GRAD), 1 => (0_u32..32).prop_map(Want::from_bits_truncate)];
    let target = prop::option::weighted(0.3, prop::sample::select(vec![TargetKind::Indices, TargetKind::Values]));
    let shapes = (prop::option::weighted(0.05, shape()), prop::option::weighted(0.05, shape()));
    // Rarely a mask or weights: each is refused by half of the losses.
    let given = (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let storage = ([dtype(), dtype()], prop::bool::weighted(0.25));
    (loss, reduction, shape(), target, shapes, want, storage, given, facts()).prop_map(
        |(loss, reduction, shape, target, (target_shape, input2_shape), want, (dtypes, in_place), given, facts)| Case {
            loss,
            reduction,
            shape,
            target,
            target_shape,
            input2_shape,
            want,
            // A gradient in place has the input's type.
            dtypes: if in_place { [dtypes[0]; 2] } else { dtypes },
            in_place,
            given: given.into(),
            facts,
        },
    )
}

#[test]
fn every_plan_is_refused_or_covers_each_row_and_item_once() {
    let (all, planned) = (Cell::new(0), Cell::new(0));
    for seed in seeds() {
        check(seed, 20_000, &case(), |case| {
            all.set(all.get() + 1);
            planned.set(planned.get() + u32::from(case.check()?));
            Ok(())
        });
    }
    // Many questions make no sense, and are to be refused; the others are to be answered.
    assert!(10 * planned.get() > all.get(), "only {} of {} cases were planned", planned.get(), all.get());
}

/// What broadcasts to more than any memory holds is refused, on the CPU too.
#[test]
fn tensors_that_broadcast_beyond_memory_are_refused() {
    let tall = ndarray::Array2::<f32>::zeros((1 << 20, 1));
    let wide = ndarray::Array2::<f32>::zeros((1, 1 << 20));
    table(|rows| {
        for (place, ctx) in places() {
            for want in [Want::LOSS, Want::LOSS | Want::GRAD] {
                let call = Tensors::new(tall.view(), wide.view()).input2(wide.view()).wants(want);
                let refused = MarginRanking::new().evaluate(&ctx, &call).map(|_| ());
                let right = matches!(&refused, Err(Error::Unsupported { .. }));
                rows.row(format!("{place} {want:?}"), ensure(right, || format!("{refused:?}")));
            }
        }
    });
}

/// Sizes whose product leaves the range of integers, as they stand and behind a dimension of 0.
#[test]
fn sizes_that_no_integer_holds_are_refused() {
    let large = 1_usize << 40;
    table(|rows| {
        for shape in [&[large, large][..], &[large, 0, large], &[usize::MAX], &[usize::MAX, 2], &[2, large, large, 2]] {
            for kind in [TargetKind::Indices, TargetKind::Values] {
                let refused = CrossEntropy::new().lower(&Problem::new(shape, kind));
                let named = matches!(&refused, Err(Error::Shape { argument: "input", expected, .. }) if expected.contains("2^"));
                rows.row(format!("{shape:?} {kind:?}"), ensure(named, || format!("{refused:?}")));
            }
        }
    });
}
