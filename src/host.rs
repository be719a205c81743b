//! The host front door: arrays in, arrays out. On a GPU exactly problem, plan, prepare, record, submit, readback.

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use crate::context::{Context, Gpu};
use crate::error::Error;
use crate::kernel::{Kernel, Layout, WeightSource, ignore_code};
use crate::losses::{Loss, Twin};
use crate::prepared::{Buffers, filled_buffer};
use crate::problem::{Dtype, Want};
use crate::tensors::{Answer, Element, RowStats, Storage, Target, Tensors};

/// The wanted outputs for host tensors: uploads, runs, reads back; on a CPU context, the reference path. The input may be `f32`,
/// `half::f16` or `half::bf16`; its gradient is of the same type, everything else `f32`.
///
/// # Errors
/// What validation finds, naming the argument; [`Error::Unsupported`] and [`Error::Device`] from the machine.
///
/// ```
/// use deeploss::{Context, CrossEntropy, Tensors, Want};
/// use half::bf16;
/// use ndarray::array;
///
/// let logits = array![[2.0_f32, 0.0]].mapv(bf16::from_f32);
/// let targets = array![0_i64];
/// let call = Tensors::new(logits.view(), targets.view());
/// let out = deeploss::evaluate(&CrossEntropy::new(), &Context::cpu(), &call, Want::LOSS | Want::GRAD)?;
/// assert!((out.scalar().unwrap() - 0.126_928).abs() < 1e-6);              // f32
/// assert_eq!(out.grad_input.unwrap()[[0, 1]], bf16::from_f32(0.119_203));
/// # Ok::<(), deeploss::Error>(())
/// ```
pub fn evaluate<X: Storage, L: Loss + ?Sized>(
    loss: &L,
    ctx: &Context,
    tensors: &Tensors<'_, X>,
    want: Want,
) -> Result<Answer<X>, Error> {
    let problem = tensors.problem(want).input_dtype(X::DTYPE).grad_dtype(X::DTYPE);
    let kernel = loss.kernel(&problem)?;
    let input = X::widen(&tensors.input);
    let wide = tensors.with_input(input.view());
    check(loss, &kernel, &wide)?;
    let Some(gpu) = ctx.gpu() else {
        let answer = loss.compute(&kernel, &wide, want);
        return Ok(answer.with_grad_input(X::narrow));
    };
    let prepared = loss.prepare(ctx, &problem)?;
    on_gpu(gpu, &prepared, loss, &kernel, tensors, want)
}

/// Shapes, labels and values of the data, before anything runs.
pub(crate) fn check<F: Element<Scalar = F>, L: Loss + Twin<F> + ?Sized>(
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
            if usize::try_from(value).map_or(true, |v| v >= classes) && !loss.ignores(value) {
                return Err(Error::Target { row, value, classes });
            }
        }
    }
    Twin::<F>::check_values(loss, tensors)
}

#[cfg(target_arch = "wasm32")]
fn on_gpu<X: Storage, L: Loss + ?Sized>(
    _: &Gpu,
    _: &crate::prepared::Prepared,
    _: &L,
    _: &Kernel,
    _: &Tensors<'_, X>,
    _: Want,
) -> Result<Answer<X>, Error> {
    Err(Error::Unsupported {
        what: "a blocking call".into(),
        why: "a browser cannot block".into(),
        instead: "prepare, record, and await the readback",
    })
}

#[cfg(not(target_arch = "wasm32"))]
fn on_gpu<X: Storage, L: Loss + ?Sized>(
    gpu: &Gpu,
    prepared: &crate::prepared::Prepared,
    loss: &L,
    kernel: &Kernel,
    tensors: &Tensors<'_, X>,
    want: Want,
) -> Result<Answer<X>, Error> {
    let upload = |name: &str, bytes: &[u8]| filled_buffer(&gpu.device, name, bytes, wgpu::BufferUsages::STORAGE);
    let upload_f32 = |name: &str, values: &ArrayViewD<'_, f32>| upload_array(gpu, name, values);
    let input = upload_array(gpu, "input", &tensors.input);
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

    let out = |wanted: bool, shape: &[usize]| Output::new(gpu, wanted, shape, Dtype::F32);
    let outputs = [
        out(want.contains(Want::LOSS), &kernel.loss_shape),
        Output::new(gpu, want.contains(Want::GRAD), tensors.input.shape(), X::DTYPE),
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
    let [loss, grad_input, grad_input2, grad_target, stats] = outputs;
    Ok(Answer {
        loss: loss.array(&mut parts)?,
        grad_input: grad_input.array(&mut parts)?,
        grad_input2: grad_input2.array(&mut parts)?,
        grad_target: grad_target.array(&mut parts)?,
        stats: stats.array(&mut parts)?.map(|words| row_stats(&words, &kernel.item_shape)),
    })
}

/// A tensor's elements, densely packed.
#[cfg(not(target_arch = "wasm32"))]
fn upload_array<X: Storage>(gpu: &Gpu, name: &str, values: &ArrayViewD<'_, X>) -> wgpu::Buffer {
    let dense = values.as_standard_layout();
    let bytes = dense.as_slice().map(bytemuck::cast_slice).unwrap_or_default();
    filled_buffer(&gpu.device, name, bytes, wgpu::BufferUsages::STORAGE)
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
    fn new(gpu: &Gpu, wanted: bool, shape: &[usize], dtype: Dtype) -> Self {
        let size = dtype.bytes(shape.iter().product());
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

    fn array<X: Storage>(&self, parts: &mut impl Iterator<Item = Vec<u8>>) -> Result<Option<ArrayD<X>>, Error> {
        if !self.wanted {
            return Ok(None);
        }
        let bytes = if self.buffer.is_some() { parts.next().unwrap_or_default() } else { Vec::new() };
        let mut values: Vec<X> = bytemuck::pod_collect_to_vec(&bytes);
        // The last word of 16-bit elements may be half empty.
        values.truncate(self.shape.iter().product());
        ArrayD::from_shape_vec(IxDyn(&self.shape), values)
            .map(Some)
            .map_err(|e| Error::Device(format!("readback of {:?}: {e}", self.shape)))
    }
}
