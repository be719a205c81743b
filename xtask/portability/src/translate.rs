//! From a program to the text that wgpu-hal hands to a compiler: the same calls of naga, with the same options.

use std::collections::BTreeMap;

use naga::back::{hlsl, msl};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ResourceBinding, ShaderStage};

use crate::programs::Program;

/// The last module, parsed: programs of a module follow each other.
#[derive(Default)]
pub(crate) struct Translator(Option<(String, Module, ModuleInfo)>);

/// A text, and what the entry point is called in it.
pub(crate) struct Translated {
    pub(crate) text: String,
    pub(crate) entry: String,
}

impl Translator {
    /// The module with the program's constants in place of its `override`s.
    fn specialised(&mut self, program: &Program) -> Result<(Module, ModuleInfo), String> {
        let name = &program.module.name;
        if self.0.as_ref().is_none_or(|(known, ..)| known != name) {
            let (module, info) = parse(&program.module.text)?;
            self.0 = Some((name.clone(), module, info));
        }
        let Some((_, module, info)) = &self.0 else { return Err("no module".into()) };
        let constants = program.constants.iter().map(|&(name, value)| (name.to_owned(), f64::from(value))).collect();
        let entry = Some((ShaderStage::Compute, program.entry));
        let (module, info) = naga::back::pipeline_constants::process_overrides(module, info, entry, &constants)
            .map_err(|e| format!("naga: {e}"))?;
        Ok((module.into_owned(), info.into_owned()))
    }

    /// HLSL as dx12/device.rs writes it: one register space, a count of registers for each of uniforms, inputs and outputs.
    pub(crate) fn hlsl(&mut self, program: &Program, shader_model: hlsl::ShaderModel) -> Result<Translated, String> {
        let (module, info) = self.specialised(program)?;
        let at = |register| hlsl::BindTarget { register, ..hlsl::BindTarget::default() };
        let mut binding_map = BTreeMap::from([(slot(0), at(0))]);
        let mut registers = [0, 0];
        for binding in &*program.bindings {
            let register = &mut registers[usize::from(binding.written)];
            binding_map.insert(slot(binding.slot), at(*register));
            *register += 1;
        }
        let options = hlsl::Options {
            shader_model,
            binding_map,
            fake_missing_bindings: false,
            special_constants_binding: Some(at(1)),
            zero_initialize_workgroup_memory: false,
            ..hlsl::Options::default()
        };
        let entry = Some((ShaderStage::Compute, program.entry.to_owned()));
        let pipeline = hlsl::PipelineOptions { entry_point: entry };
        let mut text = String::new();
        let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None);
        let names = written.map_err(|e| format!("naga's HLSL: {e}"))?.entry_point_names;
        let entry = names.into_iter().next().ok_or("naga's HLSL has no entry point")?;
        Ok(Translated { text, entry: entry.map_err(|e| format!("naga's HLSL: {e}"))? })
    }

    /// MSL as metal/device.rs writes it: buffers are counted up, the last one holds the sizes of the others.
    pub(crate) fn msl(&mut self, program: &Program, lang_version: (u8, u8)) -> Result<Translated, String> {
        let (module, info) = self.specialised(program)?;
        let storage = program.bindings.iter().map(|binding| (binding.slot, binding.written));
        let mut resources = BTreeMap::new();
        for (buffer, (at, mutable)) in (0_u8..).zip([(0, false)].into_iter().chain(storage)) {
            resources.insert(slot(at), msl::BindTarget { buffer: Some(buffer), mutable, ..Default::default() });
        }
        let sizes_buffer = u8::try_from(resources.len()).ok();
        let resources = msl::EntryPointResources { resources, immediates_buffer: None, sizes_buffer };
        let checked = BoundsCheckPolicy::Restrict;
        let options = msl::Options {
            lang_version,
            fake_missing_bindings: false,
            per_entry_point_map: BTreeMap::from([(program.entry.to_owned(), resources)]),
            bounds_check_policies: BoundsCheckPolicies {
                index: checked,
                buffer: checked,
                image_load: checked,
                binding_array: BoundsCheckPolicy::Unchecked,
            },
            zero_initialize_workgroup_memory: false,
            ..msl::Options::default()
        };
        let pipeline = msl::PipelineOptions {
            entry_point: Some((ShaderStage::Compute, program.entry.to_owned())),
            ..msl::PipelineOptions::default()
        };
        let (text, written) =
            msl::write_string(&module, &info, &options, &pipeline).map_err(|e| format!("naga's MSL: {e}"))?;
        let entry = written.entry_point_names.into_iter().next().ok_or("naga's MSL has no entry point")?;
        Ok(Translated { text, entry: entry.map_err(|e| format!("naga's MSL: {e}"))? })
    }
}

fn slot(binding: u32) -> ResourceBinding {
    ResourceBinding { group: 0, binding }
}

fn parse(source: &str) -> Result<(Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| format!("naga: {}", e.emit_to_string(source)))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|e| format!("naga: {}", e.emit_to_string(source)))?;
    Ok((module, info))
}
