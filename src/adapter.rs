//! What a plan needs to know of an adapter: plain data.

/// Facts about an adapter that decide which kernels run. Plain data: a plan can be made from it without a GPU.
///
/// The default describes the WebGPU minimum: a GPU without subgroups and with WebGPU's default limits. Other adapters differ from it
/// by fields:
///
/// ```
/// let mut facts = deeploss::AdapterFacts::default();
/// assert!(!facts.is_cpu && facts.subgroup.is_none());
/// facts.subgroup = Some((32, 32));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AdapterFacts {
    /// Name of the adapter, with its driver.
    pub name: String,
    /// Backend: vulkan, metal, dx12, gl, webgpu.
    pub backend: String,
    /// The "GPU" is a program on the CPU (lavapipe, WARP): barriers are expensive there.
    pub is_cpu: bool,
    /// Smallest and largest subgroup, if the device was made with `Features::SUBGROUP`.
    pub subgroup: Option<(u32, u32)>,
    /// The device was made with `Features::SHADER_F16`.
    pub f16: bool,
    /// The device was made with `Features::SHADER_INT64`.
    pub int64: bool,
    /// Largest storage binding in bytes.
    pub max_binding: u64,
    /// Storage bindings that one shader stage may use.
    pub max_storage_buffers: u32,
    /// Alignment of a storage binding's offset in bytes.
    pub offset_alignment: u64,
    /// Workgroups in one dimension of a dispatch.
    pub max_workgroups: u32,
    /// Invocations in a workgroup.
    pub max_invocations: u32,
    /// Bytes of workgroup memory.
    pub max_workgroup_memory: u32,
}

impl Default for AdapterFacts {
    fn default() -> Self {
        Self::from_limits(wgpu::Features::empty(), &wgpu::Limits::default())
    }
}

impl AdapterFacts {
    fn from_limits(features: wgpu::Features, limits: &wgpu::Limits) -> Self {
        Self {
            name: "WebGPU minimum".into(),
            backend: "none".into(),
            is_cpu: false,
            subgroup: None,
            f16: features.contains(wgpu::Features::SHADER_F16),
            int64: features.contains(wgpu::Features::SHADER_INT64),
            max_binding: limits.max_storage_buffer_binding_size,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            offset_alignment: u64::from(limits.min_storage_buffer_offset_alignment),
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroup_memory: limits.max_compute_workgroup_storage_size,
        }
    }

    /// Whether tensors are read and written by words of 64 bits. Where the "GPU" is a program, each component of a vector is fetched
    /// by itself, at the same cost whatever its size; real GPUs move 16 bytes at once as they are.
    #[must_use]
    pub fn wide_words(&self) -> bool {
        self.is_cpu && self.int64
    }

    /// Facts of a device, as it was created: a feature that the adapter has but the device was not made with does not count.
    pub(crate) fn of(info: &wgpu::AdapterInfo, features: wgpu::Features, limits: &wgpu::Limits) -> Self {
        let sizes = (info.subgroup_min_size, info.subgroup_max_size);
        Self {
            name: match format!("{} {}", info.driver, info.driver_info).trim() {
                "" => info.name.clone(),
                driver => format!("{} ({driver})", info.name),
            },
            backend: info.backend.to_string(),
            is_cpu: info.device_type == wgpu::DeviceType::Cpu,
            subgroup: features.contains(wgpu::Features::SUBGROUP).then_some(sizes),
            ..Self::from_limits(features, limits)
        }
    }
}
