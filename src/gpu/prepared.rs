//! A planned call on a device: made once, recorded every step.

use std::ops::Range;
use std::sync::Arc;

use super::Gpu;
use super::faults::{Verdict, checked, watched};
use super::pipeline::Compiled;
use super::readback::{Readback, size_of_range};
use crate::error::Error;
use crate::lowered::{Lowered, WeightSource};
use crate::plan::tensor_id::caller_tensors;
use crate::plan::{Bind, Plan, STATUS_AT, STATUS_WORDS, TensorId};

macro_rules! buffers {
    ($($variant:ident $field:ident $doc:literal,)*) => {
        /// GPU tensors of one call: a range of a buffer each, densely packed in row-major order, 4 bytes per element (`f32`; class
        /// indices `i32`), 2 where the input or its gradient has a 16-bit [`Dtype`](crate::Dtype). Which are needed follows from the
        /// [`Problem`](crate::Problem) and the loss.
        ///
        /// A range must start at a multiple of the device's `min_storage_buffer_offset_alignment`; its buffer needs
        /// `BufferUsages::STORAGE`. Outputs must not overlap inputs.
        #[derive(Debug, Clone, Default)]
        pub struct Buffers<'a> {
            $(#[doc = $doc] pub $field: Option<wgpu::BufferBinding<'a>>,)*
        }

        impl<'a> Buffers<'a> {
            /// Each tensor's range by its name.
            #[doc(hidden)]
            pub fn from_fn(mut range: impl FnMut(TensorId) -> Option<wgpu::BufferBinding<'a>>) -> Self {
                Self { $($field: range(TensorId::$variant),)* }
            }

            fn get(&self, tensor: TensorId) -> Option<&wgpu::BufferBinding<'a>> {
                match tensor {
                    $(TensorId::$variant => self.$field.as_ref(),)*
                    _ => None,
                }
            }
        }
    };
}
caller_tensors!(buffers);

/// A loss prepared for one shape on one device: pipelines, parameters and scratch. Made by
/// [`Evaluate::prepare`](crate::Evaluate::prepare), recorded as often as wanted.
///
/// Successive records share the scratch, so record one `Prepared` into encoders that are submitted in order (always the case
/// on one queue).
#[derive(Debug)]
pub struct Prepared {
    gpu: Arc<Gpu>,
    plan: Arc<Plan>,
    pipelines: Arc<[Arc<Compiled>]>,
    uniforms: wgpu::Buffer,
    uniform_stride: u64,
    /// Scratch, and weights that came from the host.
    own: Vec<(TensorId, wgpu::Buffer)>,
    verdict: Verdict,
}

/// What [`Prepared`] has memory of its own for: uniforms, and how far apart those of the dispatches are; scratch and weights.
struct Own {
    uniforms: wgpu::Buffer,
    uniform_stride: u64,
    tensors: Vec<(TensorId, wgpu::Buffer)>,
}

/// A [`Prepared`] call together with its buffers: recording it allocates nothing. It owns what it needs, so that one struct can hold
/// both.
#[derive(Debug)]
pub struct Bound {
    plan: Arc<Plan>,
    pipelines: Arc<[Arc<Compiled>]>,
    /// One per dispatch. They keep the buffers alive.
    groups: Vec<wgpu::BindGroup>,
}

impl Prepared {
    pub(crate) fn new(gpu: &Arc<Gpu>, checks: bool, lowered: &Lowered, plan: Plan) -> Result<Self, Error> {
        log::debug!("deeploss prepared a call:\n{plan}");
        let compile = |dispatch: &crate::plan::Dispatch| {
            gpu.pipelines.get(&gpu.device, dispatch.kernel, dispatch.uniforms.len(), checks)
        };
        let pipelines = plan.dispatches().iter().map(compile).collect::<Result<_, _>>()?;
        let (own, verdict) = watched(&gpu.device, "a prepared call", || {
            let own = Own::new(gpu, lowered, &plan);
            gpu.prepared();
            own
        })?;
        let Own { uniforms, uniform_stride, tensors: own } = own;
        Ok(Self { gpu: gpu.clone(), plan: Arc::new(plan), pipelines, uniforms, uniform_stride, own, verdict })
    }

    /// What a browser tells of the call after it was prepared. Natively it is known by then.
    pub(crate) async fn settled(&self) -> Result<(), Error> {
        for compiled in self.pipelines.iter() {
            if let Err(error) = compiled.verdict.settled().await {
                self.gpu.pipelines.forget(compiled);
                return Err(error);
            }
        }
        self.verdict.settled().await
    }

    /// All that a browser may have something to say of.
    fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.pipelines.iter().map(|compiled| &compiled.verdict).chain([&self.verdict])
    }

    fn own(&self, tensor: TensorId) -> Option<&wgpu::Buffer> {
        self.own.iter().find(|(t, _)| *t == tensor).map(|(_, buffer)| buffer)
    }

    /// Whether the call takes this tensor from the caller: it was prepared with it, and does not have it already.
    pub(crate) fn takes(&self, tensor: TensorId) -> bool {
        self.plan.takes(tensor) && self.own(tensor).is_none()
    }

    /// What will run.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bytes of GPU memory that this call owns besides the caller's tensors.
    #[must_use]
    pub fn scratch_bytes(&self) -> u64 {
        let buffers = self.own.iter().map(|(_, buffer)| buffer).chain([&self.uniforms]);
        buffers.map(wgpu::Buffer::size).sum()
    }

    /// Records the call's dispatches, and nothing else: no submit, no poll, no readback.
    ///
    /// # Errors
    /// As [`Prepared::bind`], before anything is recorded.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder, buffers: &Buffers<'_>) -> Result<(), Error> {
        self.bind(buffers)?.record(encoder);
        Ok(())
    }

    /// Checks the buffers and makes the bind groups once, for buffers that stay the same over many steps.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Buffer`]: what does not fit; [`Error::Value`] of a tensor that the call was not prepared with;
    /// [`Error::Device`] if the device refuses a buffer (destroyed, or of another device), or is lost. Of another *instance* of wgpu a
    /// buffer cannot be told from one of this.
    pub fn bind(&self, buffers: &Buffers<'_>) -> Result<Bound, Error> {
        for &tensor in TensorId::OF_CALLER {
            let needed = self.plan.size_of(tensor);
            match buffers.get(tensor) {
                Some(_) if !self.takes(tensor) => return Err(unexpected(tensor)),
                given if self.takes(tensor) && needed > 0 => {
                    check(tensor.name(), given, needed, self.gpu.facts.offset_alignment)?;
                }
                _ => {}
            }
        }
        for &(tensor, _) in self.plan.sizes().iter().filter(|(tensor, _)| tensor.is_output()) {
            self.check_apart(tensor, buffers)?;
        }
        let groups = checked(&self.gpu.device, "binding the tensors of a call", || self.groups(buffers))?;
        Ok(Bound { plan: self.plan.clone(), pipelines: self.pipelines.clone(), groups })
    }

    /// The bind group of each dispatch.
    fn groups(&self, buffers: &Buffers<'_>) -> Vec<wgpu::BindGroup> {
        self.plan
            .dispatches()
            .iter()
            .zip(self.pipelines.iter())
            .enumerate()
            .map(|(index, (dispatch, compiled))| {
                let uniforms = wgpu::BufferBinding {
                    buffer: &self.uniforms,
                    offset: index as u64 * self.uniform_stride,
                    size: wgpu::BufferSize::new(dispatch.uniforms.len() as u64),
                };
                let mut entries =
                    vec![wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(uniforms) }];
                // What a kernel declares has a buffer: the plan's sizes were checked above, and the rest is our own.
                entries.extend(dispatch.binds.iter().filter_map(|bind| {
                    let resource = wgpu::BindingResource::Buffer(self.range(bind, buffers)?);
                    Some(wgpu::BindGroupEntry { binding: bind.slot, resource })
                }));
                self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(&compiled.label),
                    layout: &compiled.layout,
                    entries: &entries,
                })
            })
            .collect()
    }

    /// wgpu tracks whole buffers: one dispatch cannot read and write the same one. Two outputs may share a buffer, but no bytes.
    fn check_apart(&self, output: TensorId, buffers: &Buffers<'_>) -> Result<(), Error> {
        let span = |tensor| {
            let size = self.plan.sizes().iter().find(|(t, _)| *t == tensor)?.1;
            buffers.get(tensor).map(|b| (b.buffer, b.offset, b.offset + size))
        };
        let Some((buffer, start, end)) = span(output) else { return Ok(()) };
        for &(other, _) in self.plan.sizes().iter().filter(|(other, _)| *other != output) {
            let Some((_, s, e)) = span(other).filter(|(b, _, _)| *b == buffer) else { continue };
            if !other.is_output() {
                return Err(Error::Buffer {
                    argument: output.name(),
                    expected: format!("a buffer other than that of `{}`, which is read", other.name()),
                    got: "the same buffer".into(),
                });
            }
            if s < end && start < e {
                return Err(Error::Buffer {
                    argument: output.name(),
                    expected: format!("a range apart from that of `{}`", other.name()),
                    got: format!("bytes {start}..{end}, which overlap {s}..{e}"),
                });
            }
        }
        Ok(())
    }

    fn range<'b>(&'b self, bind: &Bind, buffers: &Buffers<'b>) -> Option<wgpu::BufferBinding<'b>> {
        let (buffer, offset) = match self.own(bind.tensor) {
            Some(own) => (own, 0),
            None => buffers.get(bind.tensor).map(|given| (given.buffer, given.offset))?,
        };
        Some(wgpu::BufferBinding { buffer, offset: offset + bind.offset, size: wgpu::BufferSize::new(bind.size) })
    }

    /// Records copies of the given GPU tensors, and of the status, into staging memory: await the result (or
    /// [`Readback::wait`]) after submitting. A status that tells of invalid items becomes [`Error::Invalid`].
    ///
    /// # Errors
    /// [`Error::Buffer`] of a range that cannot be copied: its buffer lacks the usage `COPY_SRC`, it does not lie within its buffer, or
    /// is not made of whole words of four bytes; [`Error::Device`] as of [`Prepared::bind`].
    pub fn read(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        tensors: &[wgpu::BufferBinding<'_>],
    ) -> Result<Readback, Error> {
        tensors.iter().enumerate().try_for_each(|(place, range)| check_copy(place, range))?;
        let status = self.plan.checked().zip(self.own(TensorId::Work)).map(|(checked, work)| {
            let size = wgpu::BufferSize::new(4 * STATUS_WORDS);
            (checked, wgpu::BufferBinding { buffer: work, offset: 4 * STATUS_AT, size })
        });
        Readback::record(&self.gpu, encoder, tensors, status, self.verdicts().cloned().collect())
    }
}

impl Own {
    fn new(gpu: &Gpu, lowered: &Lowered, plan: &Plan) -> Self {
        let alignment = u64::from(gpu.device.limits().min_uniform_buffer_offset_alignment);
        let largest = plan.dispatches().iter().map(|d| d.uniforms.len() as u64).max().unwrap_or(0);
        let uniform_stride = largest.next_multiple_of(alignment);
        let mut bytes = Vec::new();
        for dispatch in plan.dispatches() {
            bytes.extend_from_slice(&dispatch.uniforms);
            bytes.resize(bytes.len().next_multiple_of(uniform_stride as usize), 0);
        }
        let scratch = |name: &str, size| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(name),
                size,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            })
        };
        let mut tensors = Vec::new();
        for &(tensor, size) in plan.scratch().iter().filter(|(_, size)| *size > 0) {
            tensors.push((tensor, scratch(tensor.name(), size)));
        }
        for (tensor, source) in [(TensorId::Weight, &lowered.weight), (TensorId::PosWeight, lowered.pos_weight())] {
            if let WeightSource::Host(values) = source {
                let bytes = bytemuck::cast_slice(values);
                tensors.push((tensor, gpu.filled_buffer(tensor.name(), bytes, wgpu::BufferUsages::STORAGE)));
            }
        }
        let uniforms = gpu.filled_buffer("uniforms", &bytes, wgpu::BufferUsages::UNIFORM);
        Self { uniforms, uniform_stride, tensors }
    }
}

impl Bound {
    /// Records the call's dispatches, in one compute pass.
    pub fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("deeploss"), timestamp_writes: None });
        self.dispatch(&mut pass, 0..self.groups.len());
    }

    /// Records some of the call's dispatches into a pass of the caller's, who may time it: each by its place in
    /// [`Plan::dispatches`].
    #[doc(hidden)]
    pub fn dispatch(&self, pass: &mut wgpu::ComputePass<'_>, which: Range<usize>) {
        let dispatches = self.plan.dispatches().iter().zip(self.pipelines.iter()).zip(&self.groups);
        for ((dispatch, compiled), group) in dispatches.take(which.end).skip(which.start) {
            pass.set_pipeline(&compiled.pipeline);
            pass.set_bind_group(0, group, &[]);
            pass.dispatch_workgroups(dispatch.grid[0], dispatch.grid[1], 1);
        }
    }
}

fn check(
    argument: &'static str,
    given: Option<&wgpu::BufferBinding<'_>>,
    size: u64,
    alignment: u64,
) -> Result<(), Error> {
    let Some(given) = given else {
        return Err(Error::Missing { argument, why: "the call was prepared with this tensor; give a buffer for it" });
    };
    let fail = |expected: String, got: String| Err(Error::Buffer { argument, expected, got });
    if !given.buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
        return fail("usage STORAGE".into(), format!("{:?}", given.buffer.usage()));
    }
    if !given.offset.is_multiple_of(alignment) {
        return fail(format!("an offset that is a multiple of {alignment}"), format!("offset {}", given.offset));
    }
    let rest = given.buffer.size().saturating_sub(given.offset);
    let available = given.size.map_or(rest, |size| size.get().min(rest));
    if available < size {
        return fail(
            format!("{size} bytes from its offset on"),
            format!("{available} bytes (buffer of {}, offset {})", given.buffer.size(), given.offset),
        );
    }
    Ok(())
}

/// The error of a tensor that the call does not take, with the method that makes one which does.
fn unexpected(tensor: TensorId) -> Error {
    let without = match tensor {
        TensorId::Input2 => "a loss of two inputs",
        TensorId::Weight => "`weight_from_buffer` of the loss",
        TensorId::PosWeight => "`pos_weight_from_buffer` of the loss",
        TensorId::IgnoreMask => "`Problem::with_ignore_mask`",
        TensorId::SampleWeight => "`Problem::with_sample_weight`",
        TensorId::GradOutput => "`Problem::with_grad_output`",
        TensorId::Loss => "`Want::LOSS` in `Problem::wants`",
        TensorId::GradInput => "`Want::GRAD` in `Problem::wants`",
        TensorId::GradInput2 => "`Want::GRAD_INPUT2` in `Problem::wants`",
        TensorId::GradTarget => "`Want::GRAD_TARGET` in `Problem::wants`",
        TensorId::Stats => "`Want::STATS` in `Problem::wants`",
        _ => "it",
    };
    Error::value(tensor.name(), format!("none, because the call was prepared without {without}"), "a buffer")
}

/// A range that is to be copied to the host.
fn check_copy(place: usize, range: &wgpu::BufferBinding<'_>) -> Result<(), Error> {
    let (offset, size, whole) = (range.offset, size_of_range(range), range.buffer.size());
    let fail = |expected: &str, got: String| {
        Err(Error::Buffer { argument: "tensors", expected: expected.into(), got: format!("{got} in range {place}") })
    };
    if !range.buffer.usage().contains(wgpu::BufferUsages::COPY_SRC) {
        return fail("usage COPY_SRC", format!("{:?}", range.buffer.usage()));
    }
    if !(offset.is_multiple_of(4) && size.is_multiple_of(4)) {
        return fail("an offset and a size that are multiples of 4", format!("offset {offset}, size {size}"));
    }
    if offset.checked_add(size).is_none_or(|end| end > whole) {
        return fail("all bytes of the range", format!("{whole} bytes (offset {offset}, size {size})"));
    }
    Ok(())
}
