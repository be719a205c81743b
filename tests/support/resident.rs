//! The GPU-resident API on behalf of tests: host tensors into buffers, one recorded call, buffers back into an output.

use deeploss::internals::{OwnedTarget, OwnedTensors, TensorId};
use deeploss::{Buffers, Context, Dtype, Error, Evaluate, Loss, Output, Prepared, RowStats, RowStrategy, Want};
use half::{bf16, f16};
use ndarray::{ArrayD, Axis, IxDyn};
use wgpu::util::{BufferInitDescriptor, DeviceExt};

use super::cases;

/// The buffers of one call. Outputs hold 7.0 everywhere before it runs: what is not written is seen.
pub(crate) struct Resident {
    inputs: Vec<(TensorId, Range)>,
    outputs: Vec<(TensorId, Vec<usize>, Range)>,
    grad_dtype: Dtype,
    in_place: bool,
    /// Buffers of several tensors, and what they held before the call.
    pages: Vec<(wgpu::Buffer, Vec<u8>)>,
}

/// Which tensors share a buffer, each at an aligned offset that is not 0, with space between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// None: every tensor has a buffer of its own.
    Each,
    /// All inputs one, all outputs another.
    ByRole,
    /// All tensors one.
    One,
}

/// What is asked of a call besides its tensors.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) want: Want,
    /// Of the input and its gradient.
    pub(crate) dtypes: [Dtype; 2],
    pub(crate) in_place: bool,
    /// Class weights in a buffer.
    pub(crate) weight: Option<Vec<f32>>,
}

/// Bytes of a buffer.
#[derive(Clone)]
pub(crate) struct Range {
    pub(crate) buffer: wgpu::Buffer,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl Range {
    pub(crate) fn binding(&self) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding { buffer: &self.buffer, offset: self.offset, size: wgpu::BufferSize::new(self.size) }
    }
}

/// Device of a GPU context.
pub(crate) fn device(ctx: &Context) -> &wgpu::Device {
    ctx.device().expect("a GPU context")
}

/// A buffer with these bytes; never empty.
pub(crate) fn upload(ctx: &Context, bytes: &[u8]) -> wgpu::Buffer {
    device(ctx).create_buffer_init(&BufferInitDescriptor {
        label: Some("test"),
        contents: if bytes.is_empty() { &[0; 4] } else { bytes },
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
    })
}

pub(crate) fn encoder(ctx: &Context) -> wgpu::CommandEncoder {
    device(ctx).create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("test") })
}

pub(crate) fn submit(ctx: &Context, encoder: wgpu::CommandEncoder) {
    ctx.queue().expect("a GPU context").submit([encoder.finish()]);
}

/// A tensor's bytes, densely packed.
pub(crate) fn bytes(values: &ArrayD<f32>) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The same, each element the nearest one of this type; whole words, the last one's other half as in an untouched
/// output.
pub(crate) fn stored(values: &ArrayD<f32>, dtype: Dtype) -> Vec<u8> {
    let mut bytes: Vec<u8> = match dtype {
        Dtype::F32 => bytes(values),
        Dtype::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        Dtype::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        other => panic!("nothing is known of the type {other:?}"),
    };
    if !bytes.len().is_multiple_of(4) {
        bytes.extend_from_slice(&UNTOUCHED.to_le_bytes()[2..]);
    }
    bytes
}

/// The first `count` elements of this type, exactly.
pub(crate) fn loaded(bytes: &[u8], dtype: Dtype, count: usize) -> Vec<f32> {
    let halves = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    let mut values: Vec<f32> = match dtype {
        Dtype::F32 => bytemuck::pod_collect_to_vec(bytes),
        Dtype::F16 => halves().map(|pair| f16::from_le_bytes(pair).to_f32()).collect(),
        Dtype::Bf16 => halves().map(|pair| bf16::from_le_bytes(pair).to_f32()).collect(),
        other => panic!("nothing is known of the type {other:?}"),
    };
    values.truncate(count);
    values
}

/// Labels as the kernels read them: i32, with i32::MIN for an ignored value beyond that.
pub(crate) fn label_bytes(labels: &ArrayD<i64>) -> Vec<u8> {
    labels.iter().flat_map(|&v| i32::try_from(v).unwrap_or(i32::MIN).to_le_bytes()).collect()
}

/// What unwritten outputs and the bytes around them hold.
pub(crate) const UNTOUCHED: f32 = 7.0;

impl Resident {
    /// Every tensor in a buffer of its own.
    pub(crate) fn new(ctx: &Context, loss: &dyn Loss, tensors: &OwnedTensors, want: Want) -> Result<Self, Error> {
        Self::new_as(ctx, loss, tensors, want, [Dtype::F32; 2])
    }

    /// Input and its gradient stored so.
    pub(crate) fn new_as(
        ctx: &Context,
        loss: &dyn Loss,
        tensors: &OwnedTensors,
        want: Want,
        dtypes: [Dtype; 2],
    ) -> Result<Self, Error> {
        let asked = Asked { want, dtypes, in_place: false, weight: None };
        Self::placed(ctx, loss, tensors, &asked, Pages::Each)
    }

    /// All inputs in one buffer, all outputs in another, each at an aligned offset that is not 0, with space between.
    pub(crate) fn packed(ctx: &Context, loss: &dyn Loss, tensors: &OwnedTensors, want: Want) -> Result<Self, Error> {
        Self::packed_as(ctx, loss, tensors, want, [Dtype::F32; 2])
    }

    /// Input and its gradient stored so.
    pub(crate) fn packed_as(
        ctx: &Context,
        loss: &dyn Loss,
        tensors: &OwnedTensors,
        want: Want,
        dtypes: [Dtype; 2],
    ) -> Result<Self, Error> {
        let asked = Asked { want, dtypes, in_place: false, weight: None };
        Self::placed(ctx, loss, tensors, &asked, Pages::ByRole)
    }

    pub(crate) fn placed(
        ctx: &Context,
        loss: &dyn Loss,
        tensors: &OwnedTensors,
        asked: &Asked,
        pages: Pages,
    ) -> Result<Self, Error> {
        let &Asked { want, dtypes: [input_dtype, grad_dtype], in_place, .. } = asked;
        let (target, target_shape) = match &tensors.target {
            OwnedTarget::Indices(labels) => (label_bytes(labels), labels.shape()),
            OwnedTarget::Values(values) => (bytes(values), values.shape()),
        };
        let mask = |mask: &ArrayD<bool>| mask.iter().flat_map(|&m| u32::from(m).to_le_bytes()).collect::<Vec<_>>();
        let given = [
            (TensorId::Input, Some(stored(&tensors.input, input_dtype))),
            (TensorId::Input2, tensors.input2.as_ref().map(bytes)),
            (TensorId::Target, Some(target)),
            (TensorId::IgnoreMask, tensors.ignore_mask.as_ref().map(mask)),
            (TensorId::Weight, asked.weight.as_ref().map(|weight| bytemuck::cast_slice(weight).to_vec())),
            (TensorId::SampleWeight, tensors.sample_weight.as_ref().map(bytes)),
            (TensorId::GradOutput, tensors.grad_output.as_ref().map(bytes)),
        ];
        let (names, mut contents): (Vec<_>, Vec<_>) =
            given.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))).unzip();

        let shapes = [
            (TensorId::Loss, Want::LOSS, Some(cases::loss_shape(loss, tensors)?)),
            (TensorId::GradInput, Want::GRAD, Some(tensors.input.shape().to_vec())),
            (TensorId::GradInput2, Want::GRAD_INPUT2, tensors.input2.as_ref().map(|x| x.shape().to_vec())),
            (TensorId::GradTarget, Want::GRAD_TARGET, Some(target_shape.to_vec())),
            (TensorId::Stats, Want::STATS, Some([cases::item_shape(loss, tensors)?, vec![4]].concat())),
        ];
        let wanted: Vec<_> = shapes
            .into_iter()
            .filter_map(|(name, part, shape)| want.contains(part).then_some((name, shape?)))
            .collect();
        let dtype = |tensor| if tensor == TensorId::GradInput { grad_dtype } else { Dtype::F32 };
        let overwrites = |tensor| in_place && tensor == TensorId::GradInput;
        let of_output = |(name, shape): &(TensorId, Vec<usize>)| {
            (!overwrites(*name)).then(|| stored(&ArrayD::from_elem(shape.clone(), UNTOUCHED), dtype(*name)))
        };
        contents.extend(wanted.iter().filter_map(of_output));
        let mut kept = Vec::new();
        let mut page = |contents: &[Vec<u8>]| together(ctx, contents, &mut kept);
        let ranges: Vec<Range> = match pages {
            Pages::Each => contents.iter().map(|bytes| alone(ctx, bytes)).collect(),
            Pages::ByRole => [page(&contents[..names.len()]), page(&contents[names.len()..])].concat(),
            Pages::One => page(&contents),
        };
        let mut ranges = ranges.into_iter();
        let inputs: Vec<_> = names.into_iter().zip(ranges.by_ref()).collect();
        let mut range_of = |tensor| {
            let own = if overwrites(tensor) { inputs.first().map(|(_, range)| range.clone()) } else { ranges.next() };
            own.expect("a range for each tensor")
        };
        let outputs = wanted.into_iter().map(|(name, shape)| (name, shape, range_of(name))).collect();
        Ok(Self { inputs, outputs, grad_dtype, in_place, pages: kept })
    }

    /// Where a tensor lies.
    pub(crate) fn range(&self, tensor: TensorId) -> Option<&Range> {
        let inputs = self.inputs.iter().map(|(name, range)| (name, range));
        let outputs = self.outputs.iter().map(|(name, _, range)| (name, range));
        inputs.chain(outputs).find(|(name, _)| **name == tensor).map(|(_, range)| range)
    }

    pub(crate) fn buffers(&self) -> Buffers<'_> {
        let given = |tensor| !(self.in_place && tensor == TensorId::GradInput);
        Buffers::from_fn(|tensor| self.range(tensor).filter(|_| given(tensor)).map(Range::binding))
    }

    /// The ranges to read back, in the order of [`Resident::output`].
    pub(crate) fn ranges(&self) -> Vec<wgpu::BufferBinding<'_>> {
        self.outputs.iter().map(|(_, _, range)| range.binding()).collect()
    }

    /// The outputs' bytes as they are, with no status in between.
    pub(crate) fn download(&self, ctx: &Context) -> Vec<Vec<u8>> {
        let part = |range: &Range| {
            let (start, size) = (range.offset as usize, range.size as usize);
            download(ctx, &range.buffer)[start..start + size].to_vec()
        };
        self.outputs.iter().map(|(_, _, range)| part(range)).collect()
    }

    pub(crate) fn output(&self, parts: &[Vec<u8>]) -> Output {
        let part = |tensor| {
            let ((_, shape, _), bytes) = self.outputs.iter().zip(parts).find(|((name, ..), _)| *name == tensor)?;
            let dtype = if tensor == TensorId::GradInput { self.grad_dtype } else { Dtype::F32 };
            let values = loaded(bytes, dtype, shape.iter().product());
            Some(ArrayD::from_shape_vec(IxDyn(shape), values).expect("one value per element"))
        };
        Output {
            loss: part(TensorId::Loss),
            grad_input: part(TensorId::GradInput),
            grad_input2: part(TensorId::GradInput2),
            grad_target: part(TensorId::GradTarget),
            stats: part(TensorId::Stats).map(|words| stats(&words)),
        }
    }

    /// Of tensors that share buffers: what is no element of an output holds what it held.
    pub(crate) fn check_guards(&self, ctx: &Context) -> Result<(), String> {
        for (buffer, before) in &self.pages {
            let after = download(ctx, buffer);
            let written = |at: u64| {
                let here = self.outputs.iter().filter(|(_, _, range)| range.buffer == *buffer);
                here.into_iter().any(|(name, shape, range)| {
                    let size = if *name == TensorId::GradInput { self.grad_dtype.size() } else { 4 };
                    let elements = shape.iter().product::<usize>() as u64;
                    (range.offset..range.offset + elements * size).contains(&at)
                })
            };
            if let Some(at) = (0..before.len()).find(|&at| after[at] != before[at] && !written(at as u64)) {
                return Err(format!("byte {at}, outside the outputs, was written"));
            }
        }
        Ok(())
    }

    /// Records, submits, waits.
    pub(crate) fn run(&self, ctx: &Context, prepared: &Prepared) -> Result<Output, Error> {
        let mut encoder = encoder(ctx);
        prepared.record(&mut encoder, &self.buffers())?;
        let readback = prepared.read(&mut encoder, &self.ranges())?;
        submit(ctx, encoder);
        Ok(self.output(&readback.wait()?))
    }
}

/// A buffer of a tensor's own.
fn alone(ctx: &Context, bytes: &[u8]) -> Range {
    let buffer = upload(ctx, bytes);
    let size = buffer.size();
    Range { buffer, offset: 0, size }
}

/// One buffer for several tensors.
fn together(ctx: &Context, contents: &[Vec<u8>], pages: &mut Vec<(wgpu::Buffer, Vec<u8>)>) -> Vec<Range> {
    let alignment = ctx.facts().expect("a GPU context").offset_alignment as usize;
    let mut all = Vec::new();
    let mut places = Vec::new();
    for bytes in contents {
        all.extend(UNTOUCHED.to_le_bytes().repeat(3 * alignment / 4));
        places.push((all.len() as u64, bytes.len() as u64));
        all.extend_from_slice(bytes);
        let gap = all.len().next_multiple_of(alignment) - all.len();
        all.extend(UNTOUCHED.to_le_bytes().repeat(gap / 4));
    }
    all.extend(UNTOUCHED.to_le_bytes().repeat(alignment / 4));
    let buffer = upload(ctx, &all);
    let ranges = places.into_iter().map(|(offset, size)| Range { buffer: buffer.clone(), offset, size }).collect();
    pages.push((buffer, all));
    ranges
}

/// Four words per row: two floats, two integers.
fn stats(words: &ArrayD<f32>) -> RowStats {
    let column = |at: usize| words.index_axis(Axis(words.ndim() - 1), at).to_owned();
    RowStats {
        lse: column(0),
        entropy: column(1),
        argmax: column(2).mapv(f32::to_bits),
        hit: column(3).mapv(|word| word.to_bits() != 0),
    }
}

/// One call through the GPU-resident API.
pub(crate) fn run(
    ctx: &Context,
    loss: &dyn Loss,
    tensors: &OwnedTensors,
    want: Want,
    strategy: Option<RowStrategy>,
) -> Result<Output, Error> {
    let prepared = loss.prepare_with(ctx, &cases::problem(tensors, want), strategy)?;
    Resident::new(ctx, loss, tensors, want)?.run(ctx, &prepared)
}

/// What the buffers hold after a run that reports invalid targets, and the report.
pub(crate) fn run_despite_status(
    ctx: &Context,
    loss: &dyn Loss,
    tensors: &OwnedTensors,
    want: Want,
) -> Result<(Output, Result<(), Error>), Error> {
    let prepared = loss.prepare(ctx, &cases::problem(tensors, want))?;
    let resident = Resident::new(ctx, loss, tensors, want)?;
    let mut first = encoder(ctx);
    prepared.record(&mut first, &resident.buffers())?;
    let readback = prepared.read(&mut first, &[])?;
    submit(ctx, first);
    let status = readback.wait().map(|_| ());
    Ok((resident.output(&resident.download(ctx)), status))
}

/// A buffer's bytes.
pub(crate) fn download(ctx: &Context, buffer: &wgpu::Buffer) -> Vec<u8> {
    let staging = device(ctx).create_buffer(&wgpu::BufferDescriptor {
        label: Some("test"),
        size: buffer.size(),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    let mut copy = encoder(ctx);
    copy.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    submit(ctx, copy);
    staging.map_async(wgpu::MapMode::Read, .., |mapped| mapped.expect("a mapped buffer"));
    device(ctx).poll(wgpu::PollType::wait_indefinitely()).expect("a device that works");
    staging.get_mapped_range(..).expect("a mapped buffer").to_vec()
}
