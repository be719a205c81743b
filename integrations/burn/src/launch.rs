//! Dispatches of deeploss' plans as launches of Burn's runtime: on its device and queue, in the order of its own
//! kernels, in its memory. Nothing is submitted, flushed or waited for here.

use std::sync::{Arc, Mutex, PoisonError};

use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::ir::{UIntKind, metadata::Info, settings::Dim3};
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::server::{Handle, KernelArguments, MetadataBindingInfo};
use burn_cubecl::cubecl::{CubeKernel, PrecompiledSource};
use deeploss::internals::{Dispatch, Kernel, Lowered, TensorId, Trial, WeightSource};
use deeploss::{Error, Plan};

/// Streams that weights are kept for.
const STREAMS: usize = 16;

/// A kernel in WGSL.
struct Wgsl {
    identity: Identity,
    text: Arc<str>,
    entry: &'static str,
}

/// What tells one kernel from another. The text follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Identity {
    Loss(Kernel),
    Trial(&'static str, Option<u32>),
}

impl KernelMetadata for Wgsl {
    fn id(&self) -> KernelId {
        // Without checks of the runtime's: every index of the kernels is in bounds, and every loop of theirs ends
        // (their house rules, which tests hold them to).
        KernelId::new::<Self>().info(self.identity).mode(ExecutionMode::Unchecked)
    }

    fn address_type(&self) -> ElemType {
        UIntKind::U32.into()
    }
}

impl CubeKernel for Wgsl {
    fn define(&self) -> KernelDefinition {
        // The text has its own size of a workgroup, which the plan has chosen for the device.
        let settings = KernelSettings::new(Dim3::new_single(), ExecutionMode::Unchecked, AddressType::U32);
        KernelDefinition { body: Scope::root(settings.clone()), settings, info: Info::default() }
    }

    fn source(&self) -> Option<PrecompiledSource> {
        Some(PrecompiledSource { source: self.text.to_string(), entrypoint_name: self.entry.into(), lang: "wgsl" })
    }
}

/// Launches a kernel of the proof; the buffer that it writes.
pub(crate) fn try_kernel(client: &Client, trial: &Trial<'_>) -> Handle {
    let input = client.create_from_slice(trial.input);
    let output = client.empty(trial.output);
    let identity = Identity::Trial(trial.entry, trial.workgroup);
    let kernel = Wgsl { identity, text: trial.standalone().into(), entry: trial.entry };
    let arguments = KernelArguments::new()
        .with_buffer_io(input.binding(), BufferIOAttr::ReadOnly)
        .with_buffer_io(output.clone().binding(), BufferIOAttr::WriteOnly);
    client.launch(Box::new(kernel), CubeCount::Static(trial.copies, 1, 1), arguments);
    output
}

/// A plan with what its launches need.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    launches: Vec<Launch>,
    /// Weights of the loss, on the host.
    weights: Vec<(TensorId, Arc<[f32]>)>,
    /// The same in memory of streams of the runtime's.
    uploaded: Mutex<Vec<(TensorId, Handle)>>,
}

#[derive(Debug)]
struct Launch {
    text: Arc<str>,
    /// The uniform, as the runtime takes it.
    uniforms: Vec<u64>,
}

impl Planned {
    pub(crate) fn new(lowered: &Lowered, plan: Plan) -> Self {
        let launch = |dispatch: &Dispatch| {
            let mut bytes = dispatch.uniforms.clone();
            bytes.resize(bytes.len().next_multiple_of(16), 0);
            let words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")));
            Launch { text: dispatch.kernel.standalone().into(), uniforms: words.collect() }
        };
        let host = |(tensor, source): (TensorId, &WeightSource)| match source {
            WeightSource::Host(values) => Some((tensor, values.clone())),
            WeightSource::None | WeightSource::Buffer => None,
        };
        let weights = [(TensorId::Weight, &lowered.weight), (TensorId::PosWeight, lowered.pos_weight())];
        Self {
            launches: plan.dispatches().iter().map(launch).collect(),
            weights: weights.into_iter().filter_map(host).collect(),
            uploaded: Mutex::default(),
            plan,
        }
    }

    /// Launches every dispatch. `given` has the caller's tensors; what `work` is left with is given back.
    pub(crate) fn launch(
        &self,
        client: &Client,
        given: impl Fn(TensorId) -> Option<Handle>,
    ) -> Result<Option<Handle>, Error> {
        let scratch: Vec<(TensorId, Handle)> =
            self.plan.scratch().iter().map(|&(tensor, size)| (tensor, client.empty(size as usize))).collect();
        let scratch_of =
            |wanted| scratch.iter().find(|(tensor, _)| *tensor == wanted).map(|(_, handle)| handle.clone());
        let work = scratch_of(TensorId::Work);
        let weights = self.upload(client, work.as_ref());
        let weight_of = |wanted| weights.iter().find(|(tensor, _)| *tensor == wanted).map(|(_, handle)| handle.clone());
        for (dispatch, launch) in self.plan.dispatches().iter().zip(&self.launches) {
            let mut arguments = KernelArguments::new();
            for bind in &dispatch.binds {
                let own = scratch_of(bind.tensor).or_else(|| weight_of(bind.tensor));
                let handle = own.or_else(|| given(bind.tensor)).ok_or(Error::Missing {
                    argument: bind.tensor.name(),
                    why: "a kernel takes it, and the call was made without; please report this",
                })?;
                let rest = handle.size_in_used().saturating_sub(bind.offset + bind.size);
                let part = handle.offset_start(bind.offset).offset_end(rest);
                let io = if bind.written { BufferIOAttr::ReadWrite } else { BufferIOAttr::ReadOnly };
                arguments = arguments.with_buffer_io(part.binding(), io);
            }
            let [x, y] = dispatch.grid;
            let kernel = Wgsl {
                identity: Identity::Loss(dispatch.kernel),
                text: launch.text.clone(),
                entry: dispatch.kernel.entry(),
            };
            let info = MetadataBindingInfo::custom(launch.uniforms.clone());
            client.launch(Box::new(kernel), CubeCount::Static(x, y, 1), arguments.with_info(info));
        }
        Ok(work)
    }

    /// The weights in memory of the stream that `here` is of: of another stream they would make this one wait for it.
    fn upload(&self, client: &Client, here: Option<&Handle>) -> Vec<(TensorId, Handle)> {
        if self.weights.is_empty() {
            return Vec::new();
        }
        let lock = || self.uploaded.lock().unwrap_or_else(PoisonError::into_inner);
        let is_here = |(_, handle): &&(TensorId, Handle)| here.is_some_and(|here| here.stream == handle.stream);
        let known: Vec<_> = lock().iter().filter(is_here).cloned().collect();
        if !known.is_empty() {
            return known;
        }
        // Not under the lock: the runtime may wait for a thread that is about to take it.
        let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<u8>>();
        let uploaded: Vec<_> =
            self.weights.iter().map(|(tensor, values)| (*tensor, client.create_from_slice(&bytes(values)))).collect();
        let mut kept = lock();
        // Streams come and go with their threads.
        if kept.len() >= STREAMS * self.weights.len() {
            kept.clear();
        }
        kept.extend(uploaded.iter().cloned());
        uploaded
    }
}
