//! Compute pipelines, made once per kernel and device.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::faults::{Verdict, watched};
use crate::error::Error;
use crate::wgsl::variant::Kernel;
use crate::wgsl::{Access, locate};

/// Pipelines that a device keeps at most: more than a program has kernels, and some gigabytes less than a test suite compiles.
const MOST: usize = 1024;

/// The pipelines of one device. Beyond [`MOST`], the one that was asked for least recently goes; prepared calls keep theirs alive.
#[derive(Debug, Default)]
pub(crate) struct Pipelines(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    /// With each, when it was last asked for.
    pipelines: HashMap<Key, (Arc<Compiled>, u64)>,
    clock: u64,
}

/// What tells one pipeline from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) kernel: Kernel,
    pub(crate) access: Access,
    /// wgpu's runtime checks.
    pub(crate) checks: bool,
}

impl Cache {
    fn find(&mut self, key: Key) -> Option<Arc<Compiled>> {
        self.clock += 1;
        let (found, last) = self.pipelines.get_mut(&key)?;
        *last = self.clock;
        Some(found.clone())
    }

    fn insert(&mut self, key: Key, compiled: Arc<Compiled>) {
        if self.pipelines.len() >= MOST
            && let Some(oldest) = self.pipelines.iter().min_by_key(|(_, (_, last))| *last).map(|(key, _)| *key)
        {
            self.pipelines.remove(&oldest);
        }
        self.pipelines.insert(key, (compiled, self.clock));
    }
}

#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
    pub(crate) label: String,
    pub(crate) access: Access,
    pub(crate) verdict: Verdict,
}

/// A pipeline as wgpu gives it, before the device has said what it thinks of it.
struct Made {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

impl Pipelines {
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pipelines.len()
    }

    /// Lets go of a pipeline that the device has refused after all: whoever asks for it again shall be told again.
    pub(crate) fn forget(&self, refused: &Arc<Compiled>) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.pipelines.retain(|_, (kept, _)| !Arc::ptr_eq(kept, refused));
    }

    /// The pipeline of a kernel whose uniform buffer has this many bytes; compiled now if it was not before.
    pub(crate) fn get(&self, device: &wgpu::Device, key: Key, uniform_bytes: usize) -> Result<Arc<Compiled>, Error> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = lock().find(key) {
            return Ok(found);
        }
        // Not under the lock: other threads need not wait. Where two compile the same, the first one stays.
        let compiled = Arc::new(compile(device, key, uniform_bytes)?);
        let mut cache = lock();
        if let Some(found) = cache.find(key) {
            return Ok(found);
        }
        cache.insert(key, compiled.clone());
        Ok(compiled)
    }
}

fn compile(device: &wgpu::Device, key: Key, uniform_bytes: usize) -> Result<Compiled, Error> {
    let label = key.kernel.label();
    match watched(device, &label, || make(device, key, &label, uniform_bytes)) {
        Ok((Made { pipeline, layout }, verdict)) => {
            Ok(Compiled { pipeline, layout, label, access: key.access, verdict })
        }
        Err(Error::Device { what, source }) => Err(Error::Device { what: explain(key.kernel, &what), source }),
        Err(other) => Err(other),
    }
}

fn make(device: &wgpu::Device, key: Key, label: &str, uniform_bytes: usize) -> Made {
    let module = create_module(device, key, label);
    let Key { kernel, access, .. } = key;
    let entry = |binding, ty, size| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: wgpu::BufferSize::new(size) },
        count: None,
    };
    let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform, uniform_bytes as u64)];
    entries.extend(kernel.bindings().iter().map(|binding| {
        let read_only = !binding.written && access == Access::ReadOnly;
        entry(binding.slot, wgpu::BufferBindingType::Storage { read_only }, binding.stride)
    }));
    let layout =
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(label),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let constants: Vec<(&str, f64)> =
        kernel.constants().into_iter().map(|(name, value)| (name, f64::from(value))).collect();
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(label),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some(kernel.entry()),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &constants,
            // Every kernel writes its workgroup memory before it reads it.
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    });
    Made { pipeline, layout }
}

/// With wgpu's runtime checks, or without the counters that it adds to every loop so that none is endless. Bounds and divisions stay
/// checked either way: that an index is in bounds is known to the plan rather than to the shader.
fn create_module(device: &wgpu::Device, key: Key, label: &str) -> wgpu::ShaderModule {
    let text = key.kernel.wgsl_with(key.access);
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(text.into()) };
    if key.checks {
        return device.create_shader_module(descriptor);
    }
    let runtime = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
    // SAFETY: no loop of the shaders is endless, whatever the tensors hold. Each counts a u32 up by a step of at least 1 (a literal, or a
    // multiple of LANES, WORKGROUP, SHUFFLED or IN_FLIGHT, which are at least 1) and leaves it at or above a
    // bound that no iteration changes: constants, or numbers from the uniform buffer, which only `Plan` writes. No counter wraps:
    // fours and classes of a row, of which a binding holds at most 2^33 bytes, stay a step below 2^32, and so do items, of which
    // `Plan` takes MAX_ITEMS. tests/tuning.rs holds the loops to this form.
    unsafe { device.create_shader_module_trusted(descriptor, runtime) }
}

/// A compiler message with the place in the crate's own files beside each `wgsl:line`.
fn explain(kernel: Kernel, message: &str) -> String {
    let mut text = message.to_owned();
    for found in message.match_indices("wgsl:") {
        let digits: String = message[found.0 + 5..].chars().take_while(char::is_ascii_digit).collect();
        if let Some((file, line)) = digits.parse().ok().and_then(|line| locate(&kernel.parts(), line)) {
            text.push_str(&format!("\n(wgsl:{digits} is shaders/{file}:{line})"));
        }
    }
    text
}
