//! A planned call on a device: made once, recorded every step.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::Gpu;
use super::faults::{Verdict, checked, watched};
use super::pipeline::{Compiled, Key};
use super::readback::{Readback, size_of_range};
use crate::error::Error;
use crate::lowered::{Lowered, WeightSource};
use crate::plan::tensor_id::caller_tensors;
use crate::plan::{Bind, Dispatch, Plan, TensorId};
use crate::wgsl::Access;

macro_rules! buffers {
    ($($variant:ident $field:ident $doc:literal,)*) => {
        /// GPU tensors of one call: a range of a buffer each, densely packed in row-major order, 4 bytes per element (`f32`; class
        /// indices `i32`), 2 where the input or its gradient has a 16-bit [`Dtype`](crate::Dtype). Which are needed follows from the
        /// [`Problem`](crate::Problem) and the loss.
        ///
        /// A range must start at a multiple of the device's `min_storage_buffer_offset_alignment`; its buffer needs
        /// `BufferUsages::STORAGE`. Tensors may share a buffer, as those of an allocator's page do, in ranges that do not overlap. (Those of
        /// inputs may, unless an output shares a buffer with one.) Where an output shares one with an input, kernels that bind all buffers
        /// for writing are compiled at the first [`Prepared::bind`]; they read without the caches that some devices have for what nobody
        /// writes.
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
    /// One per dispatch: those for [`Access::Shared`], once a call has needed them.
    shared: Box<[OnceLock<Arc<Compiled>>]>,
    checks: bool,
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
        let compiled = |dispatch| compile(gpu, dispatch, Access::ReadOnly, checks);
        let pipelines = plan.dispatches().iter().map(compiled).collect::<Result<_, _>>()?;
        let shared = plan.dispatches().iter().map(|_| OnceLock::new()).collect();
        let (own, verdict) = watched(&gpu.device, "a prepared call", || {
            let own = Own::new(gpu, lowered, &plan);
            gpu.prepared();
            own
        })?;
        let Own { uniforms, uniform_stride, tensors: own } = own;
        Ok(Self {
            gpu: gpu.clone(),
            plan: Arc::new(plan),
            pipelines,
            shared,
            checks,
            uniforms,
            uniform_stride,
            own,
            verdict,
        })
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
        let shared = self.shared.iter().filter_map(OnceLock::get);
        self.pipelines.iter().chain(shared).map(|compiled| &compiled.verdict).chain([&self.verdict])
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

    /// Checks the buffers and makes the bind groups once, for buffers that stay the same over many steps. At the first buffer that is
    /// both read and written it compiles kernels for that: see [`Buffers`].
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Buffer`]: what does not fit; [`Error::Value`] of a tensor that the call was not prepared with;
    /// [`Error::Device`] if the device refuses a buffer (destroyed, or of another device), or is lost. Of another *instance* of wgpu a
    /// buffer cannot be told from one of this.
    pub fn bind(&self, buffers: &Buffers<'_>) -> Result<Bound, Error> {
        for &tensor in TensorId::OF_CALLER {
            let needed = self.plan.size_of(tensor);
            match buffers.get(tensor) {
                Some(_) if !self.takes(tensor) => return Err(self.unexpected(tensor)),
                given if self.takes(tensor) && needed > 0 => {
                    check(tensor.name(), given, needed, self.gpu.facts.offset_alignment)?;
                }
                _ => {}
            }
        }
        for &(tensor, _) in self.plan.sizes().iter().filter(|(tensor, _)| self.plan.writes(*tensor)) {
            self.check_apart(tensor, buffers)?;
        }
        let pipelines = self.pipelines(buffers)?;
        let groups = checked(&self.gpu.device, "binding the tensors of a call", || self.groups(&pipelines, buffers))?;
        Ok(Bound { plan: self.plan.clone(), pipelines, groups })
    }

    /// The pipeline of each dispatch, for the access that these buffers need.
    fn pipelines(&self, buffers: &Buffers<'_>) -> Result<Arc<[Arc<Compiled>]>, Error> {
        let dispatches = self.plan.dispatches();
        if !dispatches.iter().any(|dispatch| self.shares(dispatch, buffers)) {
            return Ok(self.pipelines.clone());
        }
        let dispatches = dispatches.iter().zip(self.pipelines.iter()).zip(&self.shared);
        dispatches
            .map(|((dispatch, read_only), shared)| {
                if !self.shares(dispatch, buffers) {
                    return Ok(read_only.clone());
                }
                self.check_reads_apart(dispatch, buffers)?;
                if let Some(compiled) = shared.get() {
                    return Ok(compiled.clone());
                }
                let compiled = compile(&self.gpu, dispatch, Access::Shared, self.checks)?;
                Ok(shared.get_or_init(|| compiled).clone())
            })
            .collect()
    }

    /// Whether the dispatch reads a buffer that it writes too. wgpu tracks whole buffers, and refuses one that is bound in both ways.
    fn shares(&self, dispatch: &Dispatch, buffers: &Buffers<'_>) -> bool {
        let pages = |written: bool| {
            let binds = dispatch.binds.iter().filter(move |bind| bind.written == written);
            binds.filter_map(|bind| Some(buffers.get(bind.tensor)?.buffer))
        };
        pages(true).any(|written| pages(false).any(|read| read == written))
    }

    /// The bind group of each dispatch.
    fn groups(&self, pipelines: &[Arc<Compiled>], buffers: &Buffers<'_>) -> Vec<wgpu::BindGroup> {
        self.plan
            .dispatches()
            .iter()
            .zip(pipelines)
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

    /// What the call writes has no bytes in common with any other tensor.
    fn check_apart(&self, output: TensorId, buffers: &Buffers<'_>) -> Result<(), Error> {
        let span = |tensor| {
            let size = Some(self.plan.size_of(tensor)).filter(|&size| size > 0)?;
            buffers.get(tensor).map(|b| (b.buffer, b.offset, b.offset + size))
        };
        let Some((buffer, start, end)) = span(output) else { return Ok(()) };
        for &(other, _) in self.plan.sizes().iter().filter(|(other, _)| *other != output) {
            let Some((_, s, e)) = span(other).filter(|(b, _, _)| *b == buffer) else { continue };
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

    /// Inputs that overlap are bound for writing where the dispatch shares a buffer, which a browser refuses. So they are refused
    /// everywhere.
    fn check_reads_apart(&self, dispatch: &Dispatch, buffers: &Buffers<'_>) -> Result<(), Error> {
        let given = |bind: &Bind| buffers.get(bind.tensor).map(|given| (given.buffer, given.offset + bind.offset));
        for (place, bind) in dispatch.binds.iter().enumerate() {
            let Some((buffer, start)) = given(bind) else { continue };
            for other in &dispatch.binds[..place] {
                let Some((_, s)) = given(other).filter(|(b, _)| *b == buffer) else { continue };
                let (end, e) = (start + bind.size, s + other.size);
                if s < end && start < e {
                    let name = other.tensor.name();
                    return Err(Error::Buffer {
                        argument: bind.tensor.name(),
                        expected: format!(
                            "a range apart from that of `{name}`, where outputs share a buffer with inputs"
                        ),
                        got: format!("bytes {start}..{end}, which overlap {s}..{e}"),
                    });
                }
            }
        }
        Ok(())
    }

    /// The error of a tensor that the call does not take, with the method that makes one which does.
    fn unexpected(&self, tensor: TensorId) -> Error {
        if tensor == TensorId::GradInput && self.plan.is_in_place() {
            let expected = "none, because the call was prepared with `Problem::grad_in_place`: it overwrites `input`";
            return Error::value(tensor.name(), expected, "a buffer");
        }
        unexpected(tensor)
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
        let status = self.plan.checked().zip(self.own(TensorId::Work)).map(|((checked, bytes), work)| {
            let size = wgpu::BufferSize::new(bytes.end - bytes.start);
            (checked, wgpu::BufferBinding { buffer: work, offset: bytes.start, size })
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
    /// What the kernel of each dispatch may do with its buffers.
    #[doc(hidden)]
    #[must_use]
    pub fn accesses(&self) -> Vec<Access> {
        self.pipelines.iter().map(|compiled| compiled.access).collect()
    }

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

fn compile(gpu: &Gpu, dispatch: &Dispatch, access: Access, checks: bool) -> Result<Arc<Compiled>, Error> {
    let key = Key { kernel: dispatch.kernel, access, checks };
    gpu.pipelines.get(&gpu.device, key, dispatch.uniforms.len())
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

/// The error of a tensor that no such call takes.
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
