//! What a plan needs to know of an adapter: plain data.

use std::fmt::{self, Display, Formatter};

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
    /// Largest buffer in bytes.
    pub max_buffer: u64,
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
    /// What was proven on the device beyond WGSL's promises.
    pub proven: Proven,
}

/// What a device was seen to do although WGSL does not promise it. Kernels rely on what is proven, and are more careful, and slower,
/// where it is not. By default nothing is: [`Context::new`](crate::Context::new) and [`Context::prove`](crate::Context::prove) run
/// tiny kernels to find out, once per device.
///
/// ```
/// let facts = deeploss::AdapterFacts::default();
/// assert_eq!(facts.proven, deeploss::Proven::default());
/// assert_eq!(facts.proven.to_string(), "nothing");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Proven {
    /// `exp2` is within a relative error of 4e-7 from -126 to 0.5, 0 or no more than the smallest normal number below that, and
    /// exactly 1 at 0.
    pub exp2: bool,
    /// `fma` rounds once.
    pub fma: bool,
    /// Arithmetic that passes through an integer xor with a run-time zero stays as it is written: rounding errors can be computed.
    /// Long sums and exponentials rely on it in any case; where it does not hold they lose digits, and the log says so.
    pub opaque: bool,
    /// `unpack2x16float` is exact for every bit pattern: subnormals, infinities and NaN stay what they are.
    pub unpack_f16: bool,
    /// `pack2x16float` rounds to nearest, ties to even, to subnormals too and to infinity from 65 520 on, and keeps NaN.
    pub pack_f16: bool,
    /// Groups of so many consecutive invocations of a workgroup are consecutive lanes of a subgroup, and reach each other by
    /// `subgroupShuffleXor`: the largest power of two up to 32 for which that holds, or 0.
    pub subgroup_lanes: u32,
}

impl Proven {
    /// What both need.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            exp2: self.exp2 || other.exp2,
            fma: self.fma || other.fma,
            opaque: self.opaque || other.opaque,
            unpack_f16: self.unpack_f16 || other.unpack_f16,
            pack_f16: self.pack_f16 || other.pack_f16,
            subgroup_lanes: self.subgroup_lanes.max(other.subgroup_lanes),
        }
    }
}

impl Display for Proven {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = [
            (self.exp2, "exp2"),
            (self.fma, "fma"),
            (self.opaque, "opaque"),
            (self.unpack_f16, "unpack2x16float"),
            (self.pack_f16, "pack2x16float"),
        ];
        let mut words: Vec<String> = names.iter().filter(|(holds, _)| *holds).map(|(_, name)| (*name).into()).collect();
        if self.subgroup_lanes > 0 {
            words.push(format!("groups of {} lanes", self.subgroup_lanes));
        }
        if words.is_empty() {
            words.push("nothing".into());
        }
        f.write_str(&words.join(", "))
    }
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
            max_buffer: limits.max_buffer_size,
            max_binding: limits.max_storage_buffer_binding_size,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            offset_alignment: u64::from(limits.min_storage_buffer_offset_alignment),
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            max_invocations: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
            max_workgroup_memory: limits.max_compute_workgroup_storage_size,
            proven: Proven::default(),
        }
    }

    /// Whether tensors are read and written by words of 64 bits. Where the "GPU" is a program, each component of a vector is fetched
    /// by itself, at the same cost whatever its size; real GPUs move 16 bytes at once as they are.
    #[must_use]
    pub fn wide_words(&self) -> bool {
        self.is_cpu && self.int64
    }

    /// Neighbouring lanes that may shuffle: a power of two from 4 to 32, where that is proven.
    #[must_use]
    pub fn shuffled(&self) -> Option<u32> {
        Some(self.proven.subgroup_lanes).filter(|lanes| (4..=32).contains(lanes) && lanes.is_power_of_two())
    }

    /// [`offset_alignment`](Self::offset_alignment) as it can be on a device: a power of two, and no less than WebGPU allows.
    pub(crate) fn alignment(&self) -> u64 {
        self.offset_alignment.clamp(32, 1 << 16).next_power_of_two()
    }

    /// Facts of a device, as it was created: a feature that the adapter has but the device was not made with does not count.
    pub(crate) fn of(info: &wgpu::AdapterInfo, features: wgpu::Features, limits: &wgpu::Limits) -> Self {
        let sizes = (info.subgroup_min_size, info.subgroup_max_size);
        Self {
            name: match format!("{} {}", info.driver, info.driver_info).trim() {
                "" if info.name.is_empty() => "an adapter without a name".into(),
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
