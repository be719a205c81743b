//! Drivers that wgpu runs on, software ones: a program becomes a pipeline as the crate makes it, and one workgroup of it runs over
//! zeros, since some drivers compile only then. Cases run through the crate.
//!
//! The driver is chosen when a process starts, so each is a process of this program with the environment set: [`serve`].

use std::env;
use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::process::Command;

use deeploss::{AdapterFacts, Context, wgpu};
use serde_json::{Value, json};

use super::clock::{Whose, cpu_seconds};
use super::{Compiler, Found, Place, Run, Target, answer_to, compiled, is_file, pipeline_json, say, wine};
use crate::cases::{self, Case};
use crate::install::{Piece, WINDOWS_PROGRAM};
use crate::programs::{Abilities, Program};
use crate::report::Column;
use crate::translate::Translator;

/// A driver, by what chooses it.
pub(crate) struct Driver {
    name: &'static str,
    about: &'static str,
    goal: Option<f64>,
    /// Variables of the environment, but for the manifest.
    environment: &'static [(&'static str, &'static str)],
    /// The Vulkan driver's manifest (ICD) in the system or in the place.
    manifest: Option<Manifest>,
    pieces: &'static [Piece],
    /// The process is this program built for Windows, under wine.
    wine: bool,
}

enum Manifest {
    System(&'static str),
    Place(&'static str),
}

pub(crate) const LAVAPIPE: Driver = Driver {
    name: "lavapipe",
    about: "Vulkan: naga's SPIR-V on the system's Mesa",
    goal: None,
    environment: &[("WGPU_BACKEND", "vulkan")],
    manifest: Some(Manifest::System("/usr/share/vulkan/icd.d/lvp_icd.x86_64.json")),
    pieces: &[Piece::Debian("libvulkan1"), Piece::Debian("mesa-vulkan-drivers")],
    wine: false,
};

pub(crate) const LAVAPIPE_25: Driver = Driver {
    name: "lavapipe-25",
    about: "Vulkan: the same on Mesa 25 of Debian's backports",
    manifest: Some(Manifest::Place("mesa/lvp_icd.json")),
    // The system's package brings the libraries that the newer one needs too.
    pieces: &[Piece::Debian("libvulkan1"), Piece::Debian("mesa-vulkan-drivers"), Piece::Mesa25],
    ..LAVAPIPE
};

pub(crate) const SWIFTSHADER: Driver = Driver {
    name: "swiftshader",
    about: "Vulkan: the driver that Chromium has where there is no GPU",
    goal: Some(0.5),
    manifest: Some(Manifest::System("/usr/lib/chromium/vk_swiftshader_icd.json")),
    pieces: &[Piece::Debian("libvulkan1"), Piece::Debian("chromium")],
    ..LAVAPIPE
};

pub(crate) const GL: Driver = Driver {
    name: "gl",
    about: "OpenGL: naga's GLSL on the system's Mesa (llvmpipe)",
    goal: None,
    environment: &[("WGPU_BACKEND", "gl"), ("LIBGL_ALWAYS_SOFTWARE", "1"), ("EGL_PLATFORM", "surfaceless")],
    manifest: None,
    pieces: &[Piece::Debian("libegl1"), Piece::Debian("libgl1-mesa-dri")],
    wine: false,
};

/// wine's Direct3D 12 stands on Vulkan. Over Mesa 22.3 it gives wrong results.
pub(crate) const DX12: Driver = Driver {
    name: "dx12",
    about: "DX12: naga's HLSL through FXC, executed by wine over Mesa 25",
    environment: &[("WGPU_BACKEND", "dx12")],
    pieces: &[
        Piece::Debian("libvulkan1"),
        Piece::Debian("mesa-vulkan-drivers"),
        Piece::Debian("wine"),
        Piece::Debian("wine64"),
        Piece::Debian("xvfb"),
        Piece::Debian("xauth"),
        Piece::Debian("gcc-mingw-w64-x86-64-win32"),
        Piece::Mesa25,
        Piece::NpmWebgpu,
        Piece::Windows,
    ],
    wine: true,
    ..LAVAPIPE_25
};

impl Target for Driver {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn goal(&self) -> Option<f64> {
        self.goal
    }

    fn pieces(&self) -> &'static [Piece] {
        self.pieces
    }

    fn column(&self, run: &Run<'_>) -> Column {
        self.feed(run)
    }
}

impl Compiler for Driver {
    const EXECUTES: bool = true;

    fn find(&self, place: &Place) -> Result<Found, String> {
        let manifest: Option<PathBuf> = match self.manifest {
            Some(Manifest::System(path)) => Some(is_file(path).map(|()| path.into())?),
            Some(Manifest::Place(name)) => Some(place.file(name)?),
            None => None,
        };
        let program = if self.wine { windows(place)? } else { vec![env::current_exe().map_err(|e| e.to_string())?] };
        let prefix = self.wine.then(|| place.folder("wine")).transpose()?;
        let environment = self.environment;
        let command = move || {
            let mut command = Command::new(&program[0]);
            command.args(&program[1..]).args(["--serve", "wgpu"]);
            command.envs(environment.iter().copied()).env_remove("WGPU_ADAPTER_NAME");
            if let Some(prefix) = &prefix {
                wine::environment(&mut command, prefix);
            }
            // What was compiled before must not count as compiled quickly.
            command.env("MESA_SHADER_CACHE_DISABLE", "true");
            if let Some(manifest) = &manifest {
                command.env("VK_ICD_FILENAMES", manifest).env("VK_DRIVER_FILES", manifest);
            }
            command
        };
        // wine says that it is some NVIDIA GPU.
        Ok(Found::new(if self.wine { "FXC under wine, Mesa 25" } else { "" }, Abilities::ALL, command))
    }

    fn request(&self, _: &Place, _: &mut Translator, program: &Program) -> Result<String, String> {
        let mut request = pipeline_json(program);
        request["text"] = json!(program.module.text);
        Ok(request.to_string())
    }
}

/// This program for Windows, and what runs it: wine's graphics need a display. What lies beside it: FXC, and a library of Windows that
/// Rust's standard library needs and wine 8 lacks.
fn windows(place: &Place) -> Result<Vec<PathBuf>, String> {
    let program = place.file(WINDOWS_PROGRAM)?;
    let built =
        |file: &Path| file.metadata().and_then(|data| data.modified()).map_err(|e| format!("{}: {e}", file.display()));
    // Its shaders are those that it was built with.
    if built(&program)? < built(&env::current_exe().map_err(|e| e.to_string())?)? {
        return Err(format!("{} is older than this program; --install builds it", program.display()));
    }
    let fxc = place.file("npm/node_modules/webgpu/dist/win32-x64/d3dcompiler_47.dll")?;
    let beside = |name: &str| program.with_file_name(name);
    fs::copy(&fxc, beside("d3dcompiler_47.dll")).map_err(|e| format!("{}: {e}", fxc.display()))?;
    compiled(
        place,
        ("bcryptprimitives.c", include_str!("bcryptprimitives.c")),
        "x86_64-w64-mingw32-gcc",
        &beside("bcryptprimitives.dll"),
        &["-shared", "-ladvapi32"],
    )?;
    Ok(vec![place.program("xvfb-run")?, "-a".into(), place.program("wine")?, program])
}

/// Answers lines on the standard input: programs as JSON, and `case NUMBER`.
pub(crate) fn serve() -> Result<(), String> {
    let ctx = Context::new().map_err(|e| e.to_string())?;
    let facts = ctx.facts().ok_or("no adapter")?;
    say(&format!("ready {}", greeting(facts)))?;
    let mut last = None;
    let mut cases = None;
    for request in io::stdin().lock().lines() {
        let request = request.map_err(|e| e.to_string())?;
        let start = cpu_seconds(Whose::Own);
        let outcome = match request.strip_prefix("case ") {
            Some(number) => run_case(&ctx, number, &mut cases),
            None => compile(&ctx, &request, &mut last),
        };
        answer_to(outcome, cpu_seconds(Whose::Own) - start)?;
    }
    Ok(())
}

fn greeting(facts: &AdapterFacts) -> Value {
    json!({
        "version": facts.name,
        "subgroups": facts.subgroup.is_some(),
        "int64": facts.int64,
        "invocations": facts.max_invocations,
        "storage_buffers": facts.max_storage_buffers,
    })
}

/// Runs a case by its number. `cases`: all of them, from the first that is asked for on.
fn run_case(ctx: &Context, number: &str, cases: &mut Option<Vec<Case>>) -> Result<(), String> {
    let all = match cases {
        Some(all) => all,
        None => cases.insert(cases::collect()?),
    };
    let case = number.parse::<usize>().ok().and_then(|number| all.get(number));
    case.ok_or(format!("no case {number}"))?.run(ctx)
}

/// Makes the pipeline and runs a workgroup of it. `last`: the module before, which is often the same.
fn compile(ctx: &Context, request: &str, last: &mut Option<(String, wgpu::ShaderModule)>) -> Result<(), String> {
    let (device, queue) = ctx.device().zip(ctx.queue()).ok_or("no device")?;
    let request: Value = serde_json::from_str(request).map_err(|e| e.to_string())?;
    let scopes = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal]
        .map(|filter| device.push_error_scope(filter));
    run(device, queue, &request, last);
    let errors = scopes.into_iter().rev().map(|scope| pollster::block_on(scope.pop()));
    // All are popped.
    let errors: Vec<_> = errors.flatten().collect();
    errors.first().map_or(Ok(()), |error| {
        *last = None;
        Err(error.to_string())
    })
}

fn run(device: &wgpu::Device, queue: &wgpu::Queue, request: &Value, last: &mut Option<(String, wgpu::ShaderModule)>) {
    let text = request["text"].as_str().unwrap_or_default();
    if last.as_ref().is_none_or(|(known, _)| known != text) {
        let source = wgpu::ShaderSource::Wgsl(text.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        *last = Some((text.to_owned(), module));
    }
    let Some((_, module)) = last else { return };
    let mut entries = Vec::new();
    let mut buffers = Vec::new();
    let mut bind = |binding: u64, ty, bytes: u64, usage| {
        entries.push(wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty,
                has_dynamic_offset: false,
                min_binding_size: wgpu::BufferSize::new(bytes),
            },
            count: None,
        });
        let descriptor = wgpu::BufferDescriptor { label: None, size: bytes, usage, mapped_at_creation: false };
        buffers.push((binding as u32, device.create_buffer(&descriptor)));
    };
    let uniform_bytes = request["uniform_bytes"].as_u64().unwrap_or_default();
    bind(0, wgpu::BufferBindingType::Uniform, uniform_bytes, wgpu::BufferUsages::UNIFORM);
    for binding in request["bindings"].as_array().into_iter().flatten() {
        let number = |name: &str| binding[name].as_u64().unwrap_or_default();
        let read_only = binding["written"] == false;
        let ty = wgpu::BufferBindingType::Storage { read_only };
        bind(number("slot"), ty, number("stride"), wgpu::BufferUsages::STORAGE);
    }
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let constants = request["constants"].as_object().into_iter().flatten();
    let constants: Vec<(&str, f64)> =
        constants.map(|(name, value)| (name.as_str(), value.as_f64().unwrap_or_default())).collect();
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: Some(&pipeline_layout),
        module,
        entry_point: request["entry"].as_str(),
        // As the crate does: every kernel writes its workgroup memory before it reads it.
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &constants,
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    });
    let entries: Vec<wgpu::BindGroupEntry<'_>> = buffers
        .iter()
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding: *binding, resource: buffer.as_entire_binding() })
        .collect();
    let group =
        device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(1, 1, 1);
    drop(pass);
    queue.submit([encoder.finish()]);
    let _ = device.poll(wgpu::PollType::wait_indefinitely());
}
