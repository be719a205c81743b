//! Mesa's RADV driver as a compiler: a Vulkan device that executes nothing, set up as wgpu sets one up.

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};

use ash::vk;
use deeploss::internals::Kernel;

/// The driver's manifest (ICD), which the Vulkan loader is pointed to.
///
/// # Errors
/// What to install where there is none.
pub(crate) fn manifest() -> Result<PathBuf, String> {
    let folders = ["/usr/share", "/usr/local/share", "/etc", "/run/opengl-driver/share"];
    let files = folders.iter().filter_map(|folder| Path::new(folder).join("vulkan/icd.d").read_dir().ok()).flatten();
    let is_radv = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("radeon_icd") && name.ends_with(".json")
    };
    let found = files.flatten().map(|entry| entry.path()).find(is_radv);
    found.ok_or_else(|| {
        "Mesa's RADV driver (radeon_icd*.json) is not here; it needs no AMD GPU, but Linux. Install\n  \
         mesa-vulkan-drivers (Debian, Ubuntu, Fedora), vulkan-radeon (Arch) or mesa-vulkan-ati (Alpine)"
            .into()
    })
}

/// What the driver says of one compiled kernel.
pub(crate) struct Compiled {
    /// Statistics, by the driver's names.
    pub(crate) statistics: Vec<(String, u64)>,
    /// The final instructions.
    pub(crate) assembly: String,
}

pub(crate) struct Device {
    device: ash::Device,
    executables: ash::khr::pipeline_executable_properties::Device,
    robust: bool,
    /// The library: functions of `device` are called through it.
    _entry: ash::Entry,
}

impl Device {
    /// The null device of the family in RADV_FORCE_FAMILY.
    pub(crate) fn new() -> Result<Self, String> {
        // SAFETY: the handles are used on one thread while the library is loaded, and every pointer in a structure that is
        // passed to the driver points to a local variable that outlives the call.
        unsafe {
            let entry = ash::Entry::load().map_err(|e| format!("no Vulkan loader, install libvulkan1: {e}"))?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let instance = entry
                .create_instance(&vk::InstanceCreateInfo::default().application_info(&app), None)
                .map_err(|e| format!("no Vulkan instance: {e}"))?;
            let physical = *instance
                .enumerate_physical_devices()
                .map_err(|e| e.to_string())?
                .first()
                .ok_or("RADV has no null device for this family")?;

            // Everything that the driver supports is enabled, as it is, in what matters here, by wgpu.
            let extensions = [vk::KHR_PIPELINE_EXECUTABLE_PROPERTIES_NAME, vk::EXT_ROBUSTNESS2_NAME];
            let mut executable = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
            let mut robustness = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
            let mut v11 = vk::PhysicalDeviceVulkan11Features::default();
            let mut v12 = vk::PhysicalDeviceVulkan12Features::default();
            let mut v13 = vk::PhysicalDeviceVulkan13Features::default();
            let mut features = vk::PhysicalDeviceFeatures2::default()
                .push_next(&mut executable)
                .push_next(&mut robustness)
                .push_next(&mut v11)
                .push_next(&mut v12)
                .push_next(&mut v13);
            instance.get_physical_device_features2(physical, &mut features);
            let names = extensions.map(CStr::as_ptr);
            let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&names)
                .push_next(&mut features);
            let device = instance.create_device(physical, &info, None).map_err(|e| format!("no null device: {e}"))?;
            let executables = ash::khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Self { device, executables, robust: robustness.robust_buffer_access2 == vk::TRUE, _entry: entry })
        }
    }

    /// Whether the device bounds accesses to buffers, so that wgpu leaves it to it.
    pub(crate) fn robust(&self) -> bool {
        self.robust
    }

    /// Compiles one entry point, with the bindings of its kernel.
    pub(crate) fn compile(&self, kernel: &Kernel, spirv: &[u32]) -> Result<Compiled, String> {
        // SAFETY: as in `new`; `spirv` is a valid module, and what is created here is used by nothing after it is destroyed.
        unsafe { self.compile_unchecked(kernel, spirv) }.map_err(|e| format!("the driver refuses it: {e}"))
    }

    unsafe fn compile_unchecked(&self, kernel: &Kernel, spirv: &[u32]) -> Result<Compiled, vk::Result> {
        let device = &self.device;
        let uniform = (0, vk::DescriptorType::UNIFORM_BUFFER);
        let storage = kernel.bindings().into_iter().map(|binding| (binding.slot, vk::DescriptorType::STORAGE_BUFFER));
        let bindings: Vec<_> = std::iter::once(uniform)
            .chain(storage)
            .map(|(slot, kind)| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(slot)
                    .descriptor_type(kind)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let name = CString::new(kernel.entry()).unwrap_or_default();
        // SAFETY: the caller's.
        unsafe {
            let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [device.create_descriptor_set_layout(&info, None)?];
            let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = device.create_pipeline_layout(&info, None)?;
            let module = device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(spirv), None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE)
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(&name);
            let capture = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let info = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout).flags(capture)];
            let pipeline =
                device.create_compute_pipelines(vk::PipelineCache::null(), &info, None).map_err(|(_, e)| e)?[0];

            let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
            let statistics = self.executables.get_pipeline_executable_statistics(&info)?;
            let text = |name: &[std::ffi::c_char]| CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned();
            let statistics = statistics.iter().map(|stat| (text(&stat.name), stat.value.u64)).collect();
            let assembly = self.assembly(&info)?;
            device.destroy_pipeline(pipeline, None);
            device.destroy_shader_module(module, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(sets[0], None);
            Ok(Compiled { statistics, assembly })
        }
    }

    /// The final instructions: the driver is asked how many texts it has, how long they are, and for the texts.
    unsafe fn assembly(&self, info: &vk::PipelineExecutableInfoKHR<'_>) -> Result<String, vk::Result> {
        let call = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        let mut count = 0;
        // SAFETY: the caller's; every call is given as many elements, and as many bytes of text, as it is told.
        unsafe {
            call(self.executables.device(), info, &mut count, std::ptr::null_mut()).result()?;
            let mut found = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            call(self.executables.device(), info, &mut count, found.as_mut_ptr()).result()?;
            let mut texts: Vec<Vec<u8>> = found.iter().map(|text| vec![0; text.data_size]).collect();
            for (representation, text) in found.iter_mut().zip(&mut texts) {
                representation.p_data = text.as_mut_ptr().cast();
            }
            call(self.executables.device(), info, &mut count, found.as_mut_ptr()).result()?;
            let is_assembly = |name: &CStr| name.to_string_lossy().contains("ssembly");
            let text = found.iter().zip(texts).find(|(of, _)| is_assembly(CStr::from_ptr(of.name.as_ptr())));
            let text = text.map(|(_, text)| String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned());
            text.ok_or(vk::Result::ERROR_UNKNOWN)
        }
    }
}
