//! From a linked WGSL module to the SPIR-V that wgpu hands to a Vulkan driver.

use std::collections::HashMap;

use deeploss::internals::{Kernel, Part};
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};

/// Run-time checks that wgpu adds to a module: `ShaderRuntimeChecks` there.
pub(crate) struct Checks {
    pub(crate) name: &'static str,
    pub(crate) on: bool,
}

/// As `create_shader_module` compiles, and as `create_shader_module_trusted` does with nothing checked.
pub(crate) const CHECKS: &[Checks] = &[Checks { name: "checked", on: true }, Checks { name: "trusted", on: false }];

/// Modules before specialisation: kernels differ by their constants more often than by their text.
#[derive(Default)]
pub(crate) struct Modules(HashMap<Vec<Part>, (Module, ModuleInfo)>);

impl Modules {
    /// The SPIR-V of a kernel, as wgpu-hal's Vulkan backend writes it. `robust`: the device bounds accesses to buffers itself.
    pub(crate) fn spirv(&mut self, kernel: &Kernel, checks: &Checks, robust: bool) -> Result<Vec<u32>, String> {
        let (module, info) = match self.0.entry(kernel.parts()) {
            std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => place.insert(parse(&kernel.wgsl())?),
        };
        let constants =
            kernel.constants().into_iter().map(|(name, value)| (name.to_owned(), f64::from(value))).collect();
        let entry = Some((ShaderStage::Compute, kernel.entry()));
        let (module, info) = naga::back::pipeline_constants::process_overrides(module, info, entry, &constants)
            .map_err(|e| e.to_string())?;
        let pipeline =
            spv::PipelineOptions { entry_point: kernel.entry().to_owned(), shader_stage: ShaderStage::Compute };
        spv::write_vec(&module, &info, &options(checks, robust), Some(&pipeline)).map_err(|e| e.to_string())
    }
}

fn parse(source: &str) -> Result<(Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|e| e.emit_to_string(source))?;
    Ok((module, info))
}

fn options(checks: &Checks, robust: bool) -> spv::Options<'static> {
    let restrict = |needed: bool| if needed { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        bounds_check_policies: BoundsCheckPolicies {
            index: restrict(checks.on),
            buffer: restrict(checks.on && !robust),
            image_load: BoundsCheckPolicy::Unchecked,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        // As the crate asks: every kernel writes its workgroup memory before it reads it.
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: checks.on,
        emit_int_div_checks: checks.on,
        ..spv::Options::default()
    }
}
