//! Any shapes, options and limits: a call is refused by an error, or its plan covers every row and item once and in bounds. The same
//! judge as in the tests, fed by libFuzzer:
//!
//! ```text
//! cargo +nightly fuzz run --fuzz-dir xtask/fuzz plan
//! ```

#![no_main]

#[path = "../../../tests/support/plans.rs"]
mod plans;

use arbitrary::{Result, Unstructured};
use deeploss::{AdapterFacts, Dtype, Reduction, TargetKind, Want};
use libfuzzer_sys::fuzz_target;
use plans::{Asked, Case};

fuzz_target!(|data: &[u8]| {
    if let Ok(case) = case(&mut Unstructured::new(data)) {
        case.check().unwrap_or_else(|reason| panic!("{reason}\n{case:?}"));
    }
});

fn case(u: &mut Unstructured<'_>) -> Result<Case> {
    let loss = match u.int_in_range(0..=9)? {
        0 => Asked::ClassAxis(u.int_in_range(0..=4)?),
        1 => Asked::Weighted(shape(u)?),
        _ => Asked::Table(u.int_in_range(0..=63)?, u.int_in_range(0..=15)?),
    };
    let dtypes = [Dtype::F32, Dtype::F16, Dtype::Bf16];
    Ok(Case {
        loss,
        reduction: *u.choose(&[Reduction::Mean, Reduction::None, Reduction::Sum, Reduction::BatchMean])?,
        shape: shape(u)?,
        target: *u.choose(&[None, Some(TargetKind::Indices), Some(TargetKind::Values)])?,
        target_shape: if u.ratio(1, 16)? { Some(shape(u)?) } else { None },
        input2_shape: if u.ratio(1, 16)? { Some(shape(u)?) } else { None },
        want: if u.ratio(1, 2)? { Want::default() } else { Want::from_bits_truncate(u.arbitrary()?) },
        dtypes: [*u.choose(&dtypes)?, *u.choose(&dtypes)?],
        in_place: u.ratio(1, 4)?,
        given: [u.arbitrary()?, u.ratio(1, 8)?, u.ratio(1, 8)?],
        facts: facts(u)?,
    })
}

fn shape(u: &mut Unstructured<'_>) -> Result<Vec<usize>> {
    let rank = u.int_in_range(0..=4)?;
    (0..rank)
        .map(|_| match u.int_in_range(0..=7)? {
            0 => u.arbitrary(),
            1 => u.int_in_range(0..=1 << 20),
            _ => u.int_in_range(0..=300),
        })
        .collect()
}

fn facts(u: &mut Unstructured<'_>) -> Result<AdapterFacts> {
    let mut facts = AdapterFacts::default();
    if u.ratio(1, 4)? {
        return Ok(facts);
    }
    (facts.is_cpu, facts.int64, facts.f16) = (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
    (facts.max_buffer, facts.max_binding) = (1 << u.int_in_range(0..=63)?, 1 << u.int_in_range(0..=63)?);
    facts.max_storage_buffers = u.int_in_range(0..=20)?;
    facts.offset_alignment = 1 << u.int_in_range(5..=8)?;
    facts.max_invocations = *u.choose(&[256, 1024, 64, 1, 0])?;
    facts.max_workgroups = *u.choose(&[65_535, 32, 1, 0, u32::MAX])?;
    facts.max_workgroup_memory = *u.choose(&[16_384, 32_768, 1024, 0])?;
    (facts.proven.exp2, facts.proven.fma) = (u.arbitrary()?, u.arbitrary()?);
    facts.proven.subgroup_lanes = u.int_in_range(0..=64)?;
    Ok(facts)
}
