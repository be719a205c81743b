//! The host front door: arrays in, arrays out. On a GPU exactly problem, plan, prepare, record, submit, readback.

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use crate::context::{Context, Gpu};
use crate::error::Error;
use crate::kernel::{Kernel, Layout, WeightSource, ignore_code};
use crate::losses::{Loss, Twin};
use crate::prepared::{Buffers, filled_buffer};
use crate::problem::Want;
use crate::tensors::{Answer, RowStats, Target, Tensors};

/// [`Loss::evaluate_with`] for any loss, on the context's GPU or on the CPU.
pub(crate) fn evaluate<L: Loss + ?Sized>(
    loss: &L,
    ctx: &Context,
    tensors: &Tensors<'_>,
    want: Want,
) -> Result<Answer, Error> {
    let problem = tensors.problem(want);
    let kernel = loss.kernel(&problem)?;
    check(loss, &kernel, tensors)?;
    let Some(gpu) = ctx.gpu() else {
        return Ok(loss.compute(&kernel, tensors, want));
    };
    let prepared = loss.prepare(ctx, &problem)?;
    on_gpu(gpu, &prepared, loss, &kernel, tensors, want)
}

/// Shapes, labels and values of the data, before anything runs.
pub(crate) fn check<F, L: Loss + Twin<F> + ?Sized>(
    loss: &L,
    kernel: &Kernel,
    tensors: &Tensors<'_, F>,
) -> Result<(), Error> {
    for (argument, source) in [("weight", &kernel.weight), ("pos_weight", &kernel.pos_weight)] {
        if *source == WeightSource::Buffer {
            return Err(Error::Missing { argument, why: "host arrays take it from the loss' options" });
        }
    }
    if let Layout::Items(items) = &kernel.layout
        && items.second.is_some()
        && !kernel.mask
        && tensors.input2.is_none()
    {
        return Err(Error::Missing { argument: "input2", why: "this loss compares two inputs; give the second one" });
    }
    tensors.check_shapes(&kernel.target_shape, &kernel.item_shape, &kernel.loss_shape)?;
    if let (Target::Indices(labels), Layout::Rows(rows), Some(_)) = (&tensors.target, &kernel.layout, &kernel.labels) {
        let classes = rows.classes;
        for (row, &value) in labels.iter().enumerate() {
            if !loss.ignores(value) && usize::try_from(value).map_or(true, |v| v >= classes) {
                return Err(Error::Target { row, value, classes });
            }
        }
    }
    Twin::<F>::check_values(loss, tensors)
}

#[cfg(target_arch = "wasm32")]
fn on_gpu<L: Loss + ?Sized>(
    _: &Gpu,
    _: &crate::prepared::Prepared,
    _: &L,
    _: &Kernel,
    _: &Tensors<'_>,
    _: Want,
) -> Result<Answer, Error> {
    Err(Error::Unsupported {
        what: "a blocking call".into(),
        why: "a browser cannot block".into(),
        instead: "prepare, record, and await the readback",
    })
}

#[cfg(not(target_arch = "wasm32"))]
fn on_gpu<L: Loss + ?Sized>(
    gpu: &Gpu,
    prepared: &crate::prepared::Prepared,
    loss: &L,
    kernel: &Kernel,
    tensors: &Tensors<'_>,
    want: Want,
) -> Result<Answer, Error> {
    let upload = |name: &str, bytes: &[u8]| filled_buffer(&gpu.device, name, bytes, wgpu::BufferUsages::STORAGE);
    let upload_f32 = |name: &str, values: &ArrayViewD<'_, f32>| {
        let dense = values.as_standard_layout();
        upload(name, dense.as_slice().map(bytemuck::cast_slice).unwrap_or_default())
    };
    let input = upload_f32("input", &tensors.input);
    let target = match &tensors.target {
        Target::Indices(labels) => {
            // In range by now, or ignored.
            let codes: Vec<i32> =
                labels.iter().map(|&v| if loss.ignores(v) { ignore_code(v) } else { v as i32 }).collect();
            upload("target", bytemuck::cast_slice(&codes))
        }
        Target::Values(values) => upload_f32("target", values),
    };
    let input2 = tensors.input2.as_ref().map(|x| upload_f32("input2", x));
    let mask = tensors.ignore_mask.as_ref().map(|mask| {
        let words: Vec<u32> = mask.iter().map(|&ignored| u32::from(ignored)).collect();
        upload("ignore_mask", bytemuck::cast_slice(&words))
    });
    let sample_weight = tensors.sample_weight.as_ref().map(|w| upload_f32("sample_weight", w));
    let grad_output = tensors.grad_output.as_ref().map(|g| upload_f32("grad_output", g));

    let out = |wanted: bool, shape: &[usize]| Output::new(gpu, wanted, shape);
    let outputs = [
        out(want.contains(Want::LOSS), &kernel.loss_shape),
        out(want.contains(Want::GRAD), tensors.input.shape()),
        out(want.contains(Want::GRAD_INPUT2), tensors.input2.as_ref().map(|x| x.shape()).unwrap_or_default()),
        out(want.contains(Want::GRAD_TARGET), &kernel.target_shape),
        out(want.contains(Want::STATS), &[kernel.items(), 4]),
    ];
    let whole = wgpu::Buffer::as_entire_buffer_binding;
    let buffers = Buffers {
        input: Some(whole(&input)),
        target: Some(whole(&target)),
        input2: input2.as_ref().map(whole),
        weight: None,
        pos_weight: None,
        ignore_mask: mask.as_ref().map(whole),
        sample_weight: sample_weight.as_ref().map(whole),
        grad_output: grad_output.as_ref().map(whole),
        loss: outputs[0].buffer.as_ref().map(whole),
        grad_input: outputs[1].buffer.as_ref().map(whole),
        grad_input2: outputs[2].buffer.as_ref().map(whole),
        grad_target: outputs[3].buffer.as_ref().map(whole),
        stats: outputs[4].buffer.as_ref().map(whole),
    };
    let mut encoder =
        gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("deeploss.evaluate") });
    prepared.record(&mut encoder, &buffers)?;
    let ranges: Vec<_> = outputs.iter().filter_map(Output::range).collect();
    let readback = prepared.read(&mut encoder, &ranges);
    gpu.queue.submit([encoder.finish()]);
    let mut parts = readback.wait()?.into_iter();
    let mut arrays = outputs.iter().map(|output| output.array(&mut parts)).collect::<Result<Vec<_>, _>>()?.into_iter();
    let mut next = || arrays.next().flatten();
    let (loss, grad_input, grad_input2, grad_target) = (next(), next(), next(), next());
    let stats = next().map(|words| row_stats(&words, &kernel.item_shape));
    Ok(Answer { loss, grad_input, grad_input2, grad_target, stats })
}

/// Rows of four words: two floats, two integers.
#[cfg(not(target_arch = "wasm32"))]
fn row_stats(words: &ArrayD<f32>, shape: &[usize]) -> RowStats {
    fn column<T>(words: &ArrayD<f32>, shape: &[usize], k: usize, of: fn(f32) -> T) -> ArrayD<T> {
        let values = words.iter().skip(k).step_by(4).map(|&word| of(word)).collect();
        ArrayD::from_shape_vec(IxDyn(shape), values).expect("one value per row")
    }
    RowStats {
        lse: column(words, shape, 0, |word| word),
        entropy: column(words, shape, 1, |word| word),
        argmax: column(words, shape, 2, f32::to_bits),
        hit: column(words, shape, 3, |word| word.to_bits() != 0),
    }
}

/// One output tensor on its way back.
#[cfg(not(target_arch = "wasm32"))]
struct Output {
    shape: Vec<usize>,
    wanted: bool,
    /// None if not wanted or empty.
    buffer: Option<wgpu::Buffer>,
}

#[cfg(not(target_arch = "wasm32"))]
impl Output {
    fn new(gpu: &Gpu, wanted: bool, shape: &[usize]) -> Self {
        let size = 4 * shape.iter().product::<usize>() as u64;
        let buffer = (wanted && size > 0).then(|| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("deeploss.output"),
                size,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            })
        });
        Self { shape: shape.to_vec(), wanted, buffer }
    }

    fn range(&self) -> Option<wgpu::BufferBinding<'_>> {
        self.buffer.as_ref().map(wgpu::Buffer::as_entire_buffer_binding)
    }

    fn array(&self, parts: &mut impl Iterator<Item = Vec<u8>>) -> Result<Option<ArrayD<f32>>, Error> {
        if !self.wanted {
            return Ok(None);
        }
        let bytes = if self.buffer.is_some() { parts.next().unwrap_or_default() } else { Vec::new() };
        ArrayD::from_shape_vec(IxDyn(&self.shape), bytemuck::pod_collect_to_vec(&bytes))
            .map(Some)
            .map_err(|e| Error::Device(format!("readback of {:?}: {e}", self.shape)))
    }
}
