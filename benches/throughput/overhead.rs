//! What a call costs however small it is.

use deeploss::internals::TensorId;
use deeploss::{CrossEntropy, Evaluate, Problem, Want};

use crate::inputs::draw;
use crate::kernels::{Copy, pass, storage_buffer};
use crate::outcome::Outcome;
use crate::report::{Block, Report, Row};
use crate::resident::{Resident, VECTOR};
use crate::storage::Storage;
use crate::timing::{Bench, Subject, time_in_turn, wall};

/// Dispatches beyond the first, of which the mean cost is told.
const FURTHER: u32 = 10;
/// Records in one sample, each short.
const RECORDS: u32 = 100;

/// Rows and classes of a call whose time is all fixed costs.
pub(crate) const SMALL: [usize; 2] = [32, 10];

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    report.add(measure(bench)?)
}

/// Times are multiples of an empty submit.
pub(crate) fn measure(bench: &Bench) -> Outcome<Block> {
    let loss = CrossEntropy::new();
    let host = draw(&loss, SMALL);
    let problem = Problem::rows(SMALL[0], SMALL[1]);
    let both = loss.prepare(&bench.ctx, &problem.clone().wants(Want::LOSS | Want::GRAD))?;
    let resident = Resident::upload(bench, &loss, &host, both.plan(), Storage::F32);
    let alone = loss.prepare(&bench.ctx, &problem.clone().wants(Want::LOSS))?;
    let (bound, bound_alone) =
        (both.bind(&resident.buffers(both.plan()))?, alone.bind(&resident.buffers(alone.plan()))?);

    let [from, to] = ["from", "to"].map(|name| storage_buffer(bench, name, VECTOR));
    let tiny = Copy::reading(VECTOR).bind(bench, &from, &to);
    let tensors = |tensor| resident.get(tensor).map_or(0, wgpu::Buffer::size);
    let call_bytes = tensors(TensorId::Input) + tensors(TensorId::Target) + tensors(TensorId::Loss);

    let row = |mode| Row::new("wgpu", mode, "f32", 0);
    let ours = |mode, bytes| {
        let mut row = Row::new("deeploss", mode, "f32", 0);
        row.tensor_bytes = bytes;
        row
    };
    let per_record = 1.0 / f64::from(RECORDS);
    let encoder = || bench.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let subjects = vec![
        Subject::submitted(bench, row("empty submit").baseline(), |_| {}),
        Subject::submitted(bench, row("1 dispatch"), |encoder| pass(encoder, |pass| tiny.record(pass))),
        Subject::submitted(bench, row("11 dispatches"), |encoder| {
            pass(encoder, |pass| (0..=FURTHER).for_each(|_| tiny.record(pass)));
        }),
        Subject::submitted(bench, ours("loss, 32 x 10", call_bytes), |encoder| bound_alone.record(encoder)),
        Subject::submitted(bench, ours("both, 32 x 10", call_bytes + tensors(TensorId::GradInput)), |encoder| {
            bound.record(encoder);
        }),
        Subject::new(ours("record alone", 0), || {
            let mut encoder = encoder();
            wall(|| {
                (0..RECORDS).for_each(|_| bound.record(&mut encoder));
                Ok(())
            })
        })
        .scaled(per_record),
        Subject::new(ours("bind alone", 0), || wall(|| Ok(both.bind(&resident.buffers(both.plan()))?))),
        Subject::new(ours("prepare again", 0), || wall(|| Ok(loss.prepare(&bench.ctx, &problem)?))),
    ];
    let (mut rows, rounds) = time_in_turn(subjects, bench.pace.without_copies())?;
    let median =
        |mode: &str| rows.iter().find(|row| row.mode == mode).map_or((f64::NAN, f64::NAN), |r| (r.median, r.min));
    let (one, many, empty) = (median("1 dispatch"), median("11 dispatches"), median("empty submit"));
    let mut each = row("each further dispatch");
    each.median = (many.0 - one.0) / f64::from(FURTHER);
    each.min = (many.1 - one.1) / f64::from(FURTHER);
    each.wall = each.median;
    each.ratio = each.median / empty.0;
    rows.insert(3, each);
    Ok(Block { op: "fixed_costs".into(), shape: [0, 0], rounds, unit: "empty", notes: Vec::new(), rows })
}
