//! Compute pipelines, made once per program and device.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::link::{Part, link, locate};

/// A kernel before compilation: which files, which entry point, which constants, which bindings. Plain data and the cache key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Program {
    /// The files, the loss' own first.
    pub parts: Vec<Part>,
    /// The entry point.
    pub entry: &'static str,
    /// Values of `override` constants that differ from the file's default.
    pub constants: Vec<(&'static str, u32)>,
    /// Bytes of the uniform buffer.
    pub uniform_bytes: usize,
    /// Storage bindings: number, whether the kernel writes it, bytes of an array element.
    pub storage: Vec<(u32, bool, u64)>,
}

impl Program {
    /// The WGSL module.
    #[must_use]
    pub fn wgsl(&self) -> String {
        link(&self.parts)
    }

    /// `deeploss.<loss>.<entry>`, the label of the wgpu objects.
    #[must_use]
    pub fn label(&self) -> String {
        let file = self.parts.first().map_or("", |part| part.name);
        let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".wgsl");
        format!("deeploss.{stem}.{}", self.entry)
    }
}

/// The pipelines of one device.
#[derive(Debug, Default)]
pub(crate) struct Pipelines(Mutex<HashMap<(Program, bool), Arc<Compiled>>>);

#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
    pub(crate) label: String,
}

impl Pipelines {
    pub(crate) fn get(&self, device: &wgpu::Device, program: &Program, checks: bool) -> Result<Arc<Compiled>, Error> {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (program.clone(), checks);
        if let Some(found) = cache.get(&key) {
            return Ok(found.clone());
        }
        let compiled = Arc::new(compile(device, program, checks)?);
        cache.insert(key, compiled.clone());
        Ok(compiled)
    }
}

fn compile(device: &wgpu::Device, program: &Program, checks: bool) -> Result<Compiled, Error> {
    let label = program.label();
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let module = create_module(device, program, &label, checks);
    let entry = |binding, ty, size| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: wgpu::BufferSize::new(size) },
        count: None,
    };
    let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform, program.uniform_bytes as u64)];
    entries.extend(program.storage.iter().map(|&(slot, written, element)| {
        entry(slot, wgpu::BufferBindingType::Storage { read_only: !written }, element)
    }));
    let layout =
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(&label),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let constants: Vec<(&str, f64)> = program.constants.iter().map(|&(name, value)| (name, f64::from(value))).collect();
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(&label),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some(program.entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &constants,
            // Every kernel writes its workgroup memory before it reads it.
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    });
    // On the web the scope resolves later; there an invalid pipeline surfaces as the device's own error.
    #[cfg(not(target_arch = "wasm32"))]
    if let Some(error) = pollster::block_on(scope.pop()) {
        return Err(Error::Device(format!("{label}: {}", explain(program, &error.to_string()))));
    }
    #[cfg(target_arch = "wasm32")]
    drop(scope);
    Ok(Compiled { pipeline, layout, label })
}

/// With wgpu's runtime checks, or without the counters that it adds to every loop so that none is endless. Bounds and divisions stay
/// checked either way: that an index is in bounds is known to the plan rather than to the shader.
fn create_module(device: &wgpu::Device, program: &Program, label: &str, checks: bool) -> wgpu::ShaderModule {
    let descriptor =
        wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(program.wgsl().into()) };
    if checks {
        return device.create_shader_module(descriptor);
    }
    let runtime = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
    // SAFETY: no loop of the shaders is endless, whatever the tensors hold. Each counts a u32 up by a step of at least 1 (4 or a
    // multiple of LANES, which is at least 1; the shuffles of group_subgroup.wgsl double theirs from 1) and leaves it at or above a
    // bound that no iteration changes: constants, or numbers from the uniform buffer, which only `Plan` writes. No counter wraps:
    // quads and classes of a row, of which a binding holds at most 2^33 bytes, stay a step below 2^32, and so do items, of which
    // `Plan` takes MAX_ITEMS. tests/tuning.rs holds the loops to this form.
    unsafe { device.create_shader_module_trusted(descriptor, runtime) }
}

/// A compiler message with the place in the crate's own files beside each `wgsl:line`.
fn explain(program: &Program, message: &str) -> String {
    let mut text = message.to_owned();
    for found in message.match_indices("wgsl:") {
        let digits: String = message[found.0 + 5..].chars().take_while(char::is_ascii_digit).collect();
        if let Some((file, line)) = digits.parse().ok().and_then(|line| locate(&program.parts, line)) {
            text.push_str(&format!("\n(wgsl:{digits} is shaders/{file}:{line})"));
        }
    }
    text
}
