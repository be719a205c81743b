//! Proves that tensors may share buffers, as those of an allocator's pages do: inputs and outputs in one buffer give the bits that they
//! give apart, nothing else is written, overlaps are refused, and kernels that bind all for writing are taken only where it is needed.

use deeploss::internals::{Access, OwnedTarget, OwnedTensors, TensorId};
use deeploss::{
    Buffers, CrossEntropy, Dtype, Error, Evaluate, KlFromLogits, Loss, Prepared, Problem, Reduction, RowStrategy, Want,
};
use ndarray::{ArrayD, IxDyn};

use crate::support::compare::bits;
use crate::support::resident::{Asked, Pages, Resident, upload};
use crate::support::{cases, ensure, gpu, reason, table};

/// One prepared call with each tensor in a buffer of its own, then with all in one, then apart again.
fn check(loss: &dyn Loss, tensors: &OwnedTensors, asked: &Asked, strategy: Option<RowStrategy>) -> Result<(), String> {
    let [input, grad] = asked.dtypes;
    let problem = cases::problem(tensors, asked.want).input_dtype(input).grad_dtype(grad);
    let prepared = loss.prepare_with(&gpu(), &problem, strategy).map_err(reason)?;
    let resident = |pages| Resident::placed(&gpu(), loss, tensors, asked, pages).map_err(reason);
    let apart = resident(Pages::Each)?;
    let expected = bits(&apart.run(&gpu(), &prepared).map_err(reason)?);
    let page = resident(Pages::One)?;
    let accesses = prepared.bind(&page.buffers()).map_err(reason)?.accesses();
    ensure(accesses.contains(&Access::Shared), || "buffers are bound read-only")?;
    let together = bits(&page.run(&gpu(), &prepared).map_err(reason)?);
    ensure(together == expected, || "other bits than in buffers of their own")?;
    page.check_guards(&gpu())?;
    let again = prepared.bind(&apart.buffers()).map_err(reason)?.accesses();
    ensure(!again.contains(&Access::Shared), || "buffers apart are bound for writing")
}

fn asked(loss: &dyn Loss, tensors: &OwnedTensors, dtypes: [Dtype; 2]) -> Asked {
    Asked { want: cases::everything(loss, tensors), dtypes, in_place: false, weight: None }
}

/// Every loss, in turn by single elements, by fours and with 16 bits, reduced and not.
#[test]
fn every_loss_reads_and_writes_one_buffer() {
    table(|rows| {
        for (number, shape) in [&[6, 37][..], &[3, 64], &[70, 3], &[2, 5, 3]].into_iter().enumerate() {
            for (place, (name, loss)) in cases::fullest(shape[1]).into_iter().enumerate() {
                let sample = cases::example_inputs(&*loss, shape, 3).filter(|_| (number + place).is_multiple_of(3));
                let Some(tensors) = sample else { continue };
                let loss = loss.with_reduction([Reduction::Mean, Reduction::None][place / 3 % 2]);
                let tensors = cases::with_upstream(&*loss, &tensors);
                let dtypes = if number == 1 { [Dtype::Bf16, Dtype::F16] } else { [Dtype::F32; 2] };
                let outcome = check(&*loss, &tensors, &asked(&*loss, &tensors, dtypes), None);
                rows.row(format!("{name} {shape:?} {dtypes:?}"), outcome);
            }
        }
    });
}

/// Weights of classes and rows, a mask and statistics; groups of lanes, and several dispatches of a row.
#[test]
fn every_tensor_of_a_call_may_lie_in_the_page() {
    let loss = CrossEntropy::new().weight_from_buffer().label_smoothing(0.1);
    let ways = [
        (None, [9, 7]),
        (Some(RowStrategy::Lanes { lanes: 8, held: 2 }), [5, 261]),
        (Some(RowStrategy::Split { lanes: 8, parts: 2 }), [3, 1003]),
    ];
    table(|rows| {
        for (strategy, shape) in ways {
            let mut tensors = cases::with_upstream(&loss, &loss.example_inputs(&shape, 5));
            tensors.sample_weight = Some(ArrayD::from_shape_fn(IxDyn(&shape[..1]), |at| 0.5 * at[0] as f32));
            tensors.ignore_mask = Some(ArrayD::from_shape_fn(IxDyn(&shape[..1]), |at| at[0] == 2));
            let weight = (0..shape[1]).map(|class| 0.25 * (class % 7) as f32).collect();
            let want = Want::LOSS | Want::GRAD | Want::STATS;
            let asked = Asked { want, dtypes: [Dtype::F32; 2], in_place: false, weight: Some(weight) };
            rows.row(format!("{strategy:?}"), check(&loss, &tensors, &asked, strategy));
        }
    });
}

/// Two pages: no dispatch reads and writes the same one.
#[test]
fn inputs_that_share_a_page_are_bound_read_only() {
    let loss = CrossEntropy::new();
    let tensors = loss.example_inputs(&[9, 7], 1);
    let asked = asked(&loss, &tensors, [Dtype::F32; 2]);
    let prepared = loss.prepare(&gpu(), &cases::problem(&tensors, asked.want)).expect("a sample");
    let resident = Resident::placed(&gpu(), &loss, &tensors, &asked, Pages::ByRole).expect("a sample");
    let bound = prepared.bind(&resident.buffers()).expect("buffers that serve");
    assert!(bound.accesses().iter().all(|access| *access == Access::ReadOnly), "{:?}", bound.accesses());
}

/// The error names the argument, and both ranges.
fn refused(prepared: &Prepared, buffers: &Buffers<'_>, argument: &str, words: &[&str]) -> Result<(), String> {
    match prepared.bind(buffers) {
        Err(error @ Error::Buffer { argument: named, .. }) => {
            let message = error.to_string();
            let said = words.iter().all(|word| message.contains(word));
            ensure(named == argument && said, || format!("{named}: {message}"))
        }
        other => Err(format!("{other:?}")),
    }
}

/// An output over an input from below, from above, in the middle and all over; outputs over each other; side by side is right.
#[test]
fn ranges_that_overlap_are_refused() {
    let loss = CrossEntropy::new().reduction(Reduction::None);
    let prepared = loss.prepare(&gpu(), &Problem::rows(64, 16)).expect("a sample");
    let page = upload(&gpu(), &vec![0; 65_536]);
    let at = |offset| Some(wgpu::BufferBinding { buffer: &page, offset, size: None });
    // 4096 bytes of logits and gradient each, 256 of labels and losses.
    let buffers = |input, target, grad_input, loss| Buffers {
        input: at(input),
        target: at(target),
        grad_input: at(grad_input),
        loss: at(loss),
        ..Buffers::default()
    };
    table(|rows| {
        let mut refuse = |argument, words: &[&str], places: [u64; 4]| {
            let [input, target, grad_input, loss] = places;
            let outcome = refused(&prepared, &buffers(input, target, grad_input, loss), argument, words);
            rows.row(format!("{places:?}"), outcome);
        };
        let input = ["apart from", "`input`", "8192..12288"];
        refuse("grad_input", &["`input`", "8192..12288", "overlap 8192..12288"], [8192, 0, 8192, 32_768]);
        refuse("grad_input", &input, [8192, 0, 4352, 32_768]);
        refuse("grad_input", &input, [8192, 0, 12_032, 32_768]);
        refuse("loss", &input, [8192, 0, 16_384, 10_240]);
        refuse("grad_input", &["`target`", "1024..1280"], [8192, 1024, 0, 32_768]);
        refuse("loss", &["`target`"], [8192, 1024, 16_384, 1024]);
        refuse("loss", &["`grad_input`"], [8192, 0, 16_384, 16_640]);
        // Two inputs, where the dispatch writes to their page.
        refuse("target", &["`input`", "where outputs share"], [8192, 8448, 16_384, 32_768]);
        let beside = buffers(8192, 12_288, 4096, 12_544);
        rows.row("side by side", prepared.bind(&beside).map(|_| ()).map_err(reason));
        // Nobody writes to this page.
        let other = upload(&gpu(), &[0; 8192]);
        let own = |offset| Some(wgpu::BufferBinding { buffer: &other, offset, size: None });
        let inputs = Buffers { grad_input: own(0), loss: own(4096), ..buffers(8192, 8448, 0, 0) };
        rows.row("inputs alone", prepared.bind(&inputs).map(|_| ()).map_err(reason));
    });
}

/// A row against itself: two inputs that are one range.
#[test]
fn inputs_may_be_one_range_where_outputs_are_elsewhere() {
    let loss = KlFromLogits::new();
    let mut tensors = loss.example_inputs(&[4, 6], 2);
    tensors.target = OwnedTarget::Values(tensors.input.clone());
    let asked = asked(&loss, &tensors, [Dtype::F32; 2]);
    let prepared = loss.prepare(&gpu(), &cases::problem(&tensors, asked.want)).expect("a sample");
    let resident = Resident::placed(&gpu(), &loss, &tensors, &asked, Pages::Each).expect("a sample");
    let input = resident.range(TensorId::Input).expect("an input").binding();
    prepared.bind(&Buffers { target: Some(input), ..resident.buffers() }).expect("inputs alone");
}
