//! The GPU-resident door on behalf of tests: host tensors into buffers, one recorded call, buffers back into an answer.

use deeploss::{Answer, Buffers, Context, Error, Loss, OwnedTarget, OwnedTensors, Prepared, RowStrategy, Want};
use ndarray::{ArrayD, IxDyn};
use wgpu::util::{BufferInitDescriptor, DeviceExt};

use super::cases;

/// The buffers of one call. Outputs hold 7.0 everywhere before it runs: what is not written is seen.
pub struct Resident {
    input: wgpu::Buffer,
    input2: Option<wgpu::Buffer>,
    target: wgpu::Buffer,
    ignore_mask: Option<wgpu::Buffer>,
    grad_output: Option<wgpu::Buffer>,
    outputs: Vec<Output>,
}

struct Output {
    want: Want,
    shape: Vec<usize>,
    buffer: wgpu::Buffer,
}

/// Device of a GPU context.
pub fn device(ctx: &Context) -> &wgpu::Device {
    ctx.device().expect("a GPU context")
}

/// A buffer with these bytes; never empty.
pub fn upload(ctx: &Context, bytes: &[u8]) -> wgpu::Buffer {
    device(ctx).create_buffer_init(&BufferInitDescriptor {
        label: Some("test"),
        contents: if bytes.is_empty() { &[0; 4] } else { bytes },
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
    })
}

pub fn encoder(ctx: &Context) -> wgpu::CommandEncoder {
    device(ctx).create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("test") })
}

pub fn submit(ctx: &Context, encoder: wgpu::CommandEncoder) {
    ctx.queue().expect("a GPU context").submit([encoder.finish()]);
}

/// A tensor's bytes, densely packed.
pub fn bytes(values: &ArrayD<f32>) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Labels as the kernels read them: i32, with i32::MIN for an ignored value beyond that.
pub fn label_bytes(labels: &ArrayD<i64>) -> Vec<u8> {
    labels.iter().flat_map(|&v| i32::try_from(v).unwrap_or(i32::MIN).to_le_bytes()).collect()
}

impl Resident {
    pub fn new(ctx: &Context, loss: &dyn Loss, tensors: &OwnedTensors, want: Want) -> Result<Self, Error> {
        let output = |part: Want, shape: &[usize]| {
            want.contains(part).then(|| {
                let buffer = upload(ctx, &bytes(&ArrayD::from_elem(IxDyn(shape), 7.0)));
                Output { want: part, shape: shape.to_vec(), buffer }
            })
        };
        let values = |values: &Option<ArrayD<f32>>| values.as_ref().map(|values| upload(ctx, &bytes(values)));
        let (target, target_shape) = match &tensors.target {
            OwnedTarget::Indices(labels) => (upload(ctx, &label_bytes(labels)), labels.shape()),
            OwnedTarget::Values(values) => (upload(ctx, &bytes(values)), values.shape()),
        };
        let outputs = [
            output(Want::LOSS, &cases::loss_shape(loss, tensors)?),
            output(Want::GRAD, tensors.input.shape()),
            tensors.input2.as_ref().and_then(|input2| output(Want::GRAD_INPUT2, input2.shape())),
            output(Want::GRAD_TARGET, target_shape),
        ];
        let mask = |mask: &ArrayD<bool>| mask.iter().flat_map(|&m| u32::from(m).to_le_bytes()).collect::<Vec<_>>();
        Ok(Self {
            input: upload(ctx, &bytes(&tensors.input)),
            input2: values(&tensors.input2),
            target,
            ignore_mask: tensors.ignore_mask.as_ref().map(|m| upload(ctx, &mask(m))),
            grad_output: values(&tensors.grad_output),
            outputs: outputs.into_iter().flatten().collect(),
        })
    }

    pub fn buffers(&self) -> Buffers<'_> {
        let whole = wgpu::Buffer::as_entire_buffer_binding;
        let output = |want| self.outputs.iter().find(|output| output.want == want).map(|output| whole(&output.buffer));
        Buffers {
            input: Some(whole(&self.input)),
            input2: self.input2.as_ref().map(whole),
            target: Some(whole(&self.target)),
            ignore_mask: self.ignore_mask.as_ref().map(whole),
            grad_output: self.grad_output.as_ref().map(whole),
            loss: output(Want::LOSS),
            grad_input: output(Want::GRAD),
            grad_input2: output(Want::GRAD_INPUT2),
            grad_target: output(Want::GRAD_TARGET),
            ..Buffers::default()
        }
    }

    /// The ranges to read back, in the order of [`Resident::answer`].
    pub fn ranges(&self) -> Vec<wgpu::BufferBinding<'_>> {
        self.outputs.iter().map(|output| output.buffer.as_entire_buffer_binding()).collect()
    }

    pub fn answer(&self, parts: &[Vec<u8>]) -> Answer {
        let part = |want| {
            let (output, bytes) = self.outputs.iter().zip(parts).find(|(output, _)| output.want == want)?;
            let count = output.shape.iter().product::<usize>();
            let values = bytemuck::pod_collect_to_vec::<u8, f32>(bytes);
            Some(ArrayD::from_shape_vec(IxDyn(&output.shape), values[..count].to_vec()).expect("one value per element"))
        };
        Answer {
            loss: part(Want::LOSS),
            grad_input: part(Want::GRAD),
            grad_input2: part(Want::GRAD_INPUT2),
            grad_target: part(Want::GRAD_TARGET),
        }
    }

    /// Records, submits, waits.
    pub fn run(&self, ctx: &Context, prepared: &Prepared) -> Result<Answer, Error> {
        let mut encoder = encoder(ctx);
        prepared.record(&mut encoder, &self.buffers())?;
        let readback = prepared.read(&mut encoder, &self.ranges());
        submit(ctx, encoder);
        Ok(self.answer(&readback.wait()?))
    }
}

/// One call through the GPU-resident door.
pub fn run(
    ctx: &Context,
    loss: &dyn Loss,
    tensors: &OwnedTensors,
    want: Want,
    strategy: Option<RowStrategy>,
) -> Result<Answer, Error> {
    let prepared = loss.prepare_with(ctx, &cases::problem(tensors, want), strategy)?;
    Resident::new(ctx, loss, tensors, want)?.run(ctx, &prepared)
}

/// What the buffers hold after a run that reports invalid targets, and the report.
pub fn run_despite_status(
    ctx: &Context,
    loss: &dyn Loss,
    tensors: &OwnedTensors,
    want: Want,
) -> Result<(Answer, Result<(), Error>), Error> {
    let prepared = loss.prepare(ctx, &cases::problem(tensors, want))?;
    let resident = Resident::new(ctx, loss, tensors, want)?;
    let mut first = encoder(ctx);
    prepared.record(&mut first, &resident.buffers())?;
    let readback = prepared.read(&mut first, &[]);
    submit(ctx, first);
    let status = readback.wait().map(|_| ());
    Ok((resident.answer(&resident.download(ctx)), status))
}

impl Resident {
    /// The outputs' bytes as they are, with no status in between.
    pub fn download(&self, ctx: &Context) -> Vec<Vec<u8>> {
        self.outputs.iter().map(|output| download(ctx, &output.buffer)).collect()
    }
}

/// A buffer's bytes.
pub fn download(ctx: &Context, buffer: &wgpu::Buffer) -> Vec<u8> {
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
