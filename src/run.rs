//! What runs a loss: host arrays in, arrays out; or a call prepared for the caller's buffers. On a GPU the first is
//! exactly problem, lower, plan, prepare, record, submit, readback, each once.

#[cfg(feature = "host")]
use ndarray::ArrayD;

use crate::context::Context;
use crate::error::Error;
use crate::gpu::prepared::Prepared;
use crate::losses::Loss;
use crate::lowered::Lowered;
use crate::plan::{Plan, RowStrategy};
use crate::problem::Problem;
#[cfg(feature = "host")]
use crate::{
    cpu::{CpuReference, HostCall, Real, compute},
    lowered::{Layout, RowTargets, WeightSource},
    tensors::{Output, Storage, Target, Tensors},
};

/// Runs a loss; every [`Loss`] has it.
pub trait Evaluate: Loss {
    /// The wanted outputs for host tensors: uploads, runs, reads back; on a CPU context, the CPU reference. The input
    /// may be `f32`, `half::f16` or `half::bf16`; its gradient is of the same type, everything else `f32`.
    ///
    /// In a browser, which cannot block, this is for a CPU context; [`Evaluate::evaluate_async`] is for any.
    ///
    /// # Errors
    /// What validation finds, naming the argument; [`Error::Unsupported`] and [`Error::Device`] from the machine.
    ///
    /// ```
    /// use deeploss::{Context, CrossEntropy, Evaluate, Tensors};
    /// use half::bf16;
    /// use ndarray::array;
    ///
    /// let logits = array![[2.0_f32, 0.0]].mapv(bf16::from_f32);
    /// let targets = array![0];
    /// let out = CrossEntropy::new().evaluate(&Context::cpu(), &Tensors::new(logits.view(), targets.view()))?;
    /// assert!((out.scalar().unwrap() - 0.126_928).abs() < 1e-6);              // f32
    /// assert_eq!(out.grad_input.unwrap()[[0, 1]], bf16::from_f32(0.119_203));
    /// # Ok::<(), deeploss::Error>(())
    /// ```
    #[cfg(feature = "host")]
    fn evaluate<X: Storage>(&self, ctx: &Context, tensors: &Tensors<'_, X>) -> Result<Output<X>, Error>;

    /// [`Evaluate::evaluate`] as a future, for browsers; elsewhere it is ready when it is polled first, and blocks until then.
    ///
    /// ```
    /// use deeploss::{Context, Error, Evaluate, Hinge, Tensors};
    /// use ndarray::array;
    ///
    /// async fn loss(ctx: &Context) -> Result<f32, Error> {
    ///     let (scores, signs) = (array![0.5_f32, 2.0], array![1, -1]);
    ///     let out = Hinge::new().evaluate_async(ctx, &Tensors::new(scores.view(), signs.view())).await?;
    ///     Ok(out.scalar().expect("the mean is one number"))
    /// }
    /// assert_eq!(pollster::block_on(loss(&Context::cpu()))?, 1.75);           // (0.5 + 3) / 2
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Evaluate::evaluate`].
    #[cfg(feature = "host")]
    fn evaluate_async<X: Storage>(
        &self,
        ctx: &Context,
        tensors: &Tensors<'_, X>,
    ) -> impl Future<Output = Result<Output<X>, Error>>;

    /// The wanted outputs on the CPU in the precision of the tensors, `f32` or `f64`.
    ///
    /// # Errors
    /// As [`Evaluate::evaluate`]: what validation finds.
    ///
    /// ```
    /// use deeploss::{CrossEntropy, Evaluate, Tensors};
    /// use ndarray::array;
    ///
    /// let (logits, target) = (array![[40.0_f64, 0.0]], array![0]);
    /// let out = CrossEntropy::new().reference(&Tensors::new(logits.view(), target.view()))?;
    /// assert!((out.scalar().unwrap() - (-40.0_f64).exp().ln_1p()).abs() < 1e-30);
    /// # Ok::<(), deeploss::Error>(())
    /// ```
    #[cfg(feature = "host")]
    fn reference<F: Real>(&self, tensors: &Tensors<'_, F>) -> Result<Output<F>, Error>
    where
        Self: CpuReference<F>;

    /// Makes everything that a call of this shape needs on the context's device, once. How rows are mapped to
    /// invocations follows the context's [`Tuning`](crate::Tuning), else the table; [`Prepared::plan`] tells which and
    /// why.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Value`]: what does not fit; [`Error::NoAdapter`] of a CPU context;
    /// [`Error::Unsupported`] and [`Error::Device`] from the machine.
    ///
    /// ```no_run
    /// use deeploss::{Buffers, Context, CrossEntropy, Error, Evaluate, Problem, wgpu};
    ///
    /// # fn step(ctx: &Context, encoder: &mut wgpu::CommandEncoder, buffers: &Buffers<'_>) -> Result<(), Error> {
    /// let prepared = CrossEntropy::new().prepare(ctx, &Problem::rows(8192, 50_257))?;
    /// prepared.record(encoder, buffers)?;                                     // at every step
    /// # Ok(())
    /// # }
    /// ```
    fn prepare(&self, ctx: &Context, problem: &Problem) -> Result<Prepared, Error>;

    /// [`Evaluate::prepare`], and what the device says of it. A browser tells later what it refuses: this waits for it, as it does
    /// for the compilation of the kernels, while the page goes on. After the plain `prepare` it is the readback that tells, and the
    /// log. Elsewhere both are the same.
    ///
    /// # Errors
    /// As [`Evaluate::prepare`].
    ///
    /// ```no_run
    /// # async fn example(ctx: &deeploss::Context) -> Result<(), deeploss::Error> {
    /// use deeploss::{CrossEntropy, Evaluate, Problem};
    /// let prepared = CrossEntropy::new().prepare_async(ctx, &Problem::rows(256, 1000)).await?;
    /// # Ok(())
    /// # }
    /// ```
    fn prepare_async(&self, ctx: &Context, problem: &Problem) -> impl Future<Output = Result<Prepared, Error>>;

    /// [`Evaluate::prepare`] with a strategy of the caller's choice, for tests and measurements.
    ///
    /// # Errors
    /// As [`Evaluate::prepare`]; [`Error::Unsupported`] if the strategy cannot serve.
    #[doc(hidden)]
    fn prepare_with(&self, ctx: &Context, problem: &Problem, strategy: Option<RowStrategy>) -> Result<Prepared, Error>;
}

impl<L: Loss + ?Sized> Evaluate for L {
    #[cfg(feature = "host")]
    fn evaluate<X: Storage>(&self, ctx: &Context, tensors: &Tensors<'_, X>) -> Result<Output<X>, Error> {
        if cfg!(target_arch = "wasm32") && ctx.gpu().is_some() {
            return Err(Error::Unsupported {
                what: "`evaluate` on a GPU".into(),
                why: "a browser cannot block".into(),
                instead: "await `evaluate_async`",
            });
        }
        pollster::block_on(self.evaluate_async(ctx, tensors))
    }

    #[cfg(feature = "host")]
    async fn evaluate_async<X: Storage>(&self, ctx: &Context, tensors: &Tensors<'_, X>) -> Result<Output<X>, Error> {
        let values = values_of(self, &tensors.target)?;
        let tensors = tensors.with_target(values.as_ref().map(|values| values.view()));
        let problem = tensors.problem().input_dtype(X::DTYPE).grad_dtype(X::DTYPE);
        let lowered = self.lower(&problem)?;
        {
            let dense = tensors.input.as_standard_layout();
            let call = HostCall::new(&tensors, dense.as_slice().unwrap_or_default());
            check(self, &lowered, &call)?;
            if ctx.gpu().is_none() {
                return compute(self, &lowered, &call);
            }
        }
        let prepared = prepare(self, ctx, &problem, &lowered, None)?;
        prepared.settled().await?;
        on_gpu(ctx, &prepared, self, &lowered, &tensors).await
    }

    #[cfg(feature = "host")]
    fn reference<F: Real>(&self, tensors: &Tensors<'_, F>) -> Result<Output<F>, Error>
    where
        Self: CpuReference<F>,
    {
        let values = values_of(self, &tensors.target)?;
        let tensors = tensors.with_target(values.as_ref().map(|values| values.view()));
        let lowered = self.lower(&tensors.problem())?;
        let dense = tensors.input.as_standard_layout();
        let call = HostCall::new(&tensors, dense.as_slice().unwrap_or_default());
        check(self, &lowered, &call)?;
        compute(self, &lowered, &call)
    }

    fn prepare(&self, ctx: &Context, problem: &Problem) -> Result<Prepared, Error> {
        self.prepare_with(ctx, problem, None)
    }

    async fn prepare_async(&self, ctx: &Context, problem: &Problem) -> Result<Prepared, Error> {
        let prepared = self.prepare(ctx, problem)?;
        prepared.settled().await?;
        Ok(prepared)
    }

    fn prepare_with(&self, ctx: &Context, problem: &Problem, strategy: Option<RowStrategy>) -> Result<Prepared, Error> {
        ctx.require_gpu()?;
        prepare(self, ctx, problem, &self.lower(problem)?, strategy)
    }
}

fn prepare<L: Loss + ?Sized>(
    loss: &L,
    ctx: &Context,
    problem: &Problem,
    lowered: &Lowered,
    strategy: Option<RowStrategy>,
) -> Result<Prepared, Error> {
    let gpu = ctx.require_gpu()?;
    let plan = match strategy {
        Some(_) => Plan::new(lowered, problem, &gpu.facts, strategy)?,
        None => ctx.tuning().plan(loss.info().name, lowered, problem, &gpu.facts)?,
    };
    Prepared::new(gpu, ctx.tuning().checks(), lowered, plan)
}

/// Integers as values, where the loss takes no class indices.
#[cfg(feature = "host")]
fn values_of<F: Real, L: Loss + ?Sized>(loss: &L, target: &Target<'_, F>) -> Result<Option<ArrayD<F>>, Error> {
    let Target::Indices(labels) = target else { return Ok(None) };
    if loss.takes_class_indices() {
        return Ok(None);
    }
    let value = |label: i64| F::of(label as f64);
    match labels.iter().find(|&&label| i128::from(label) != value(label).wide() as i128) {
        Some(label) => Err(Error::value("target", "integers that the type of the input holds exactly", label)),
        None => Ok(Some(labels.mapv(value))),
    }
}

/// Shapes, labels and values of the data, before anything runs.
#[cfg(feature = "host")]
fn check<F: Real, L: Loss + CpuReference<F> + ?Sized>(
    loss: &L,
    lowered: &Lowered,
    call: &HostCall<'_, F>,
) -> Result<(), Error> {
    for (argument, source) in [("weight", &lowered.weight), ("pos_weight", lowered.pos_weight())] {
        if *source == WeightSource::Buffer {
            return Err(Error::Missing { argument, why: "host arrays take it from the loss' options" });
        }
    }
    if let Layout::Items(items) = &lowered.layout
        && items.broadcast.second.is_some()
        && !items.mask
        && call.input2.is_none()
    {
        return Err(Error::Missing { argument: "input2", why: "this loss compares two inputs; give the second one" });
    }
    call.check_shapes(lowered)?;
    if let (Target::Indices(labels), Layout::Rows(rows)) = (&call.target, &lowered.layout)
        && let RowTargets::Indices { ignore } = &rows.target
    {
        let (classes, excluded) = (rows.shape.classes, call.excluded_rows());
        for (row, &value) in labels.iter().enumerate() {
            let is_class = usize::try_from(value).is_ok_and(|v| v < classes);
            if !is_class && !loss.ignores(value) && excluded.get(row) != Some(&true) {
                return Err(Error::Target { row, value, classes, ignorable: !ignore.is_empty() });
            }
        }
    }
    loss.check_values(call)
}

#[cfg(feature = "host")]
use host::on_gpu;

/// The host call on a GPU: upload, record, submit, wait.
#[cfg(feature = "host")]
mod host {
    use ndarray::{ArrayD, ArrayViewD, IxDyn};
    use wgpu::{Buffer, BufferUsages};

    use super::{Context, Error, Loss, Lowered, Output, Prepared, Storage, Target, Tensors};
    use crate::gpu::Gpu;
    use crate::gpu::faults::watched;
    use crate::gpu::prepared::Buffers;
    use crate::gpu::transfer::{PIECE, Upload, append, download};
    use crate::lowered::ignore_code;
    use crate::plan::TensorId;
    use crate::problem::{Dtype, Want};
    use crate::tensors::{RowStats, room_for};

    pub(super) async fn on_gpu<X: Storage, L: Loss + ?Sized>(
        ctx: &Context,
        prepared: &Prepared,
        loss: &L,
        lowered: &Lowered,
        tensors: &Tensors<'_, X>,
    ) -> Result<Output<X>, Error> {
        let gpu = ctx.require_gpu()?;
        let call = Call { gpu, prepared };
        let (uploads, inputs_made) = watched(&gpu.device, "the inputs of a call", || call.uploads(loss, tensors))?;
        let uploads = uploads?;
        let input2 = tensors.input2.as_ref().map(|x| x.shape()).unwrap_or_default();
        let (outputs, outputs_made) = watched(&gpu.device, "the outputs of a call", || {
            let output = |tensor, wanted, shape: &[usize], dtype| {
                OutputBuffer::new(gpu, tensor, tensors.want.contains(wanted), shape, dtype)
            };
            [
                output(TensorId::Loss, Want::LOSS, &lowered.loss_shape, Dtype::F32),
                output(TensorId::GradInput, Want::GRAD, tensors.input.shape(), X::DTYPE),
                output(TensorId::GradInput2, Want::GRAD_INPUT2, input2, Dtype::F32),
                output(TensorId::GradTarget, Want::GRAD_TARGET, &lowered.target_shape, Dtype::F32),
                output(TensorId::Stats, Want::STATS, &[lowered.items(), 4], Dtype::F32),
            ]
        })?;
        let written = || outputs.iter().filter_map(|output| output.buffer.as_ref());
        let buffers = Buffers::from_fn(|tensor| {
            let upload = uploads.iter().find(|(id, _)| *id == tensor).map(|(_, buffer)| buffer);
            let output =
                outputs.iter().find(|output| output.tensor == tensor).and_then(|output| output.buffer.as_ref());
            upload.or(output).map(Buffer::as_entire_buffer_binding)
        });
        // Small results come back with the call itself.
        let at_once = written().map(Buffer::size).sum::<u64>() <= PIECE;
        let ranges: Vec<_> = written().filter(|_| at_once).map(Buffer::as_entire_buffer_binding).collect();
        let (readback, submitted) = watched(&gpu.device, "a call", || {
            let descriptor = wgpu::CommandEncoderDescriptor { label: Some("deeploss.evaluate") };
            let mut encoder = gpu.device.create_command_encoder(&descriptor);
            prepared.record(&mut encoder, &buffers)?;
            let readback = prepared.read(&mut encoder, &ranges);
            gpu.queue.submit([encoder.finish()]);
            readback
        })?;
        for verdict in [inputs_made, outputs_made, submitted] {
            verdict.settled().await?;
        }
        let mut parts = readback?.submitted().await?.into_iter();
        // Large ones need the memory that the inputs took.
        drop(uploads);
        let mut part = || parts.next();
        let [loss, grad_input, grad_input2, grad_target, stats] = outputs;
        Ok(Output {
            loss: call.array(loss, &mut part).await?,
            grad_input: call.array(grad_input, &mut part).await?,
            grad_input2: call.array(grad_input2, &mut part).await?,
            grad_target: call.array(grad_target, &mut part).await?,
            stats: call.array(stats, &mut part).await?.map(|words| row_stats(&words, &lowered.item_shape)),
        })
    }

    /// A host call on its way through the device.
    struct Call<'a> {
        gpu: &'a Gpu,
        prepared: &'a Prepared,
    }

    impl Call<'_> {
        /// The given tensors on the device.
        fn uploads<X: Storage, L: Loss + ?Sized>(
            &self,
            loss: &L,
            tensors: &Tensors<'_, X>,
        ) -> Result<Vec<(TensorId, Buffer)>, Error> {
            let mut uploads = vec![self.dense(TensorId::Input, &tensors.input)?];
            uploads.push(match &tensors.target {
                Target::Indices(labels) => {
                    // In range by now, or the row is ignored.
                    let code = |&label: &i64| if loss.ignores(label) { ignore_code(label) } else { label as i32 };
                    self.words(TensorId::Target, labels.len(), labels.iter().map(code))?
                }
                Target::Values(values) => self.dense(TensorId::Target, values)?,
            });
            for (tensor, values) in [
                (TensorId::Input2, &tensors.input2),
                (TensorId::SampleWeight, &tensors.sample_weight),
                (TensorId::GradOutput, &tensors.grad_output),
            ] {
                if let Some(values) = values {
                    uploads.push(self.dense(tensor, values)?);
                }
            }
            if let Some(mask) = &tensors.ignore_mask {
                let words = mask.iter().map(|&ignored| u32::from(ignored));
                uploads.push(self.words(TensorId::IgnoreMask, mask.len(), words)?);
            }
            Ok(uploads)
        }

        /// A tensor of words that are made of something else.
        fn words<T: bytemuck::Pod>(
            &self,
            tensor: TensorId,
            count: usize,
            words: impl Iterator<Item = T>,
        ) -> Result<(TensorId, Buffer), Error> {
            let buffer = self.buffer(tensor, Dtype::F32.bytes(count));
            Upload::to(self.gpu, &buffer).values(words)?;
            Ok((tensor, buffer))
        }

        /// A tensor's elements, densely packed.
        fn dense<X: Storage>(&self, tensor: TensorId, values: &ArrayViewD<'_, X>) -> Result<(TensorId, Buffer), Error> {
            let buffer = self.buffer(tensor, X::DTYPE.bytes(values.len()));
            let upload = Upload::to(self.gpu, &buffer);
            match values.as_slice() {
                Some(values) => upload.bytes(bytemuck::cast_slice(values))?,
                None => upload.values(values.iter().copied())?,
            }
            Ok((tensor, buffer))
        }

        fn buffer(&self, tensor: TensorId, size: u64) -> Buffer {
            self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(tensor.name()),
                size: size.max(4),
                usage: BufferUsages::STORAGE | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        }

        /// An output, which takes the next `part` if the call brought its results along.
        async fn array<X: Storage>(
            &self,
            output: OutputBuffer,
            part: &mut impl FnMut() -> Option<Vec<u8>>,
        ) -> Result<Option<ArrayD<X>>, Error> {
            if !output.is_wanted {
                return Ok(None);
            }
            let count = output.shape.iter().product();
            let values = match output.buffer.as_ref().map(|buffer| (buffer, part())) {
                None => Vec::new(),
                Some((_, Some(bytes))) => {
                    let mut values = room_for(count)?;
                    append(&mut values, &bytes, count);
                    values
                }
                Some((buffer, None)) => download(self.gpu, self.prepared, buffer, count).await?,
            };
            ArrayD::from_shape_vec(IxDyn(&output.shape), values).map(Some).map_err(|e| {
                Error::device_caused(format!("readback of {} {:?}", output.tensor.name(), output.shape), e)
            })
        }
    }

    /// Rows of four words: two floats, two integers.
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
    struct OutputBuffer {
        tensor: TensorId,
        shape: Vec<usize>,
        is_wanted: bool,
        /// None if not wanted or empty.
        buffer: Option<Buffer>,
    }

    impl OutputBuffer {
        fn new(gpu: &Gpu, tensor: TensorId, is_wanted: bool, shape: &[usize], dtype: Dtype) -> Self {
            let size = dtype.bytes(shape.iter().product());
            let buffer = (is_wanted && size > 0).then(|| {
                gpu.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(tensor.name()),
                    size,
                    usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC,
                    mapped_at_creation: false,
                })
            });
            Self { tensor, shape: shape.to_vec(), is_wanted, buffer }
        }
    }
}
