//! The device that losses run on: a GPU of ours, the caller's, or the CPU reference path.

use std::sync::Arc;

use crate::error::Error;
use crate::pipeline::Pipelines;
use crate::tuning::Tuning;

/// What to do on a machine without an adapter; also the message of the tests.
pub const INSTALL_A_DRIVER: &str = "install a GPU driver, or Mesa's software Vulkan: \
    `apt-get install -y mesa-vulkan-drivers libvulkan1` (Debian, Ubuntu), `dnf install mesa-vulkan-drivers` (Fedora); \
    `Context::cpu()` runs without one";

/// Facts about an adapter that decide which kernels run. Plain data: a plan can be made from it without a GPU.
///
/// The default describes the WebGPU minimum: a GPU without subgroups and with WebGPU's default limits.
///
/// ```
/// let facts = deeploss::AdapterFacts::default();
/// assert!(!facts.is_cpu && facts.subgroup.is_none());
/// ```
#[derive(Debug, Clone, PartialEq)]
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
        Self::new(
            "WebGPU minimum".into(),
            "none".into(),
            false,
            None,
            wgpu::Features::empty(),
            &wgpu::Limits::default(),
        )
    }
}

impl AdapterFacts {
    fn new(
        name: String,
        backend: String,
        is_cpu: bool,
        subgroup: Option<(u32, u32)>,
        features: wgpu::Features,
        limits: &wgpu::Limits,
    ) -> Self {
        Self {
            name,
            backend,
            is_cpu,
            subgroup,
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
    fn of(info: &wgpu::AdapterInfo, features: wgpu::Features, limits: &wgpu::Limits) -> Self {
        let subgroup =
            features.contains(wgpu::Features::SUBGROUP).then_some((info.subgroup_min_size, info.subgroup_max_size));
        Self::new(
            match format!("{} {}", info.driver, info.driver_info).trim() {
                "" => info.name.clone(),
                driver => format!("{} ({driver})", info.name),
            },
            info.backend.to_string(),
            info.device_type == wgpu::DeviceType::Cpu,
            subgroup,
            features,
            limits,
        )
    }
}

/// Where losses are computed. Cheap to clone, `Send` and `Sync`; several threads may prepare and record with one context.
///
/// ```
/// let ctx = deeploss::Context::new_or_cpu();      // a GPU if there is one, else the CPU
/// let other = ctx.clone();
/// std::thread::spawn(move || println!("{}", other.describe())).join().unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Context {
    gpu: Option<Arc<Gpu>>,
    tuning: Arc<Tuning>,
}

/// Device, queue and what is cached for them.
#[derive(Debug)]
pub(crate) struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) facts: AdapterFacts,
    pub(crate) pipelines: Pipelines,
}

impl Context {
    /// Features of a device with which kernels are faster; none is needed. Subgroups, and for software adapters 64-bit integers.
    pub const FEATURES: wgpu::Features = wgpu::Features::SUBGROUP.union(wgpu::Features::SHADER_INT64);

    /// The best GPU adapter. The environment chooses among several: `WGPU_BACKEND` (`vulkan`, `metal`, `dx12`, `gl`),
    /// `WGPU_ADAPTER_NAME` (part of a name) and `WGPU_POWER_PREF` (`low`, `high`).
    ///
    /// # Errors
    /// [`Error::NoAdapter`] with what to install; [`Error::Device`] if the adapter gives no device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new() -> Result<Self, Error> {
        pollster::block_on(Self::new_async())
    }

    /// [`Context::new`] as a future, for browsers.
    ///
    /// # Errors
    /// As [`Context::new`].
    pub async fn new_async() -> Result<Self, Error> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter = choose_adapter(&instance).await?;
        let wanted = Self::FEATURES | wgpu::Features::SHADER_F16;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("deeploss"),
            required_features: adapter.features() & wanted,
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|e| Error::Device(e.to_string()))?;
        Ok(Self::from_wgpu(&adapter, device, queue))
    }

    /// The caller's device and queue: losses then run on the caller's buffers and encoders. Uses what the device was created
    /// with: [`FEATURES`](Self::FEATURES) give faster kernels, WebGPU's default limits suffice.
    #[must_use]
    pub fn from_wgpu(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let facts = AdapterFacts::of(&adapter.get_info(), device.features(), &device.limits());
        log::debug!("deeploss on {} ({})", facts.name, facts.backend);
        let gpu = Gpu { device, queue, facts, pipelines: Pipelines::default() };
        Self { gpu: Some(Arc::new(gpu)), tuning: Arc::default() }
    }

    /// The CPU: the same host API, computed by the reference path in parallel. GPU-resident calls are refused.
    #[must_use]
    pub fn cpu() -> Self {
        Self { gpu: None, tuning: Arc::default() }
    }

    /// The same device and queue, with compiled pipelines still shared; calls prepared with the new context follow `tuning`. One
    /// that was measured on another adapter or by another version of the crate says nothing here: its entries are left out,
    /// with a warning in the log.
    ///
    /// ```
    /// use deeploss::{Context, Tuning};
    /// let ctx = Context::new_or_cpu().with_tuning(Tuning::default().runtime_checks(false));
    /// assert!(ctx.tuning().is_empty());
    /// ```
    #[must_use]
    pub fn with_tuning(&self, tuning: Tuning) -> Self {
        let tuning = match self.facts() {
            Some(facts) if !tuning.is_for(facts) => {
                log::warn!("deeploss ignores a tuning made for {}: this is {}", tuning.origin(), Tuning::here(facts));
                Tuning::default().runtime_checks(tuning.checks())
            }
            _ => tuning,
        };
        Self { gpu: self.gpu.clone(), tuning: Arc::new(tuning) }
    }

    /// What calls prepared with this context follow.
    #[must_use]
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// [`Context::new`], or [`Context::cpu`] where there is no adapter; a log line (warning) says so.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn new_or_cpu() -> Self {
        Self::new().unwrap_or_else(|error| {
            log::warn!("deeploss computes on the CPU: {error}");
            Self::cpu()
        })
    }

    /// Facts about the adapter; `None` on the CPU.
    #[must_use]
    pub fn facts(&self) -> Option<&AdapterFacts> {
        self.gpu.as_deref().map(|gpu| &gpu.facts)
    }

    /// The device, to create buffers and encoders on; `None` on the CPU.
    #[must_use]
    pub fn device(&self) -> Option<&wgpu::Device> {
        self.gpu.as_deref().map(|gpu| &gpu.device)
    }

    /// The queue, to submit to; `None` on the CPU.
    #[must_use]
    pub fn queue(&self) -> Option<&wgpu::Queue> {
        self.gpu.as_deref().map(|gpu| &gpu.queue)
    }

    /// One line for people: adapter and backend, or the CPU.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.facts() {
            Some(facts) => format!("{}, {}", facts.name, facts.backend),
            None => format!("CPU reference path, {} threads", rayon::current_num_threads()),
        }
    }

    pub(crate) fn gpu(&self) -> Option<&Arc<Gpu>> {
        self.gpu.as_ref()
    }

    pub(crate) fn require_gpu(&self) -> Result<&Arc<Gpu>, Error> {
        self.gpu.as_ref().ok_or(Error::Unsupported {
            what: "a prepared kernel".into(),
            why: "this context computes on the CPU".into(),
            instead: "use `evaluate` with host arrays, or a context with an adapter",
        })
    }
}

/// Every adapter that wgpu finds, as [`AdapterFacts`] of a device with all its features and limits.
///
/// ```
/// for facts in deeploss::adapters() {
///     println!("{} ({})", facts.name, facts.backend);
/// }
/// ```
#[cfg(not(target_arch = "wasm32"))]
#[must_use]
pub fn adapters() -> Vec<AdapterFacts> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()))
        .iter()
        .map(|adapter| AdapterFacts::of(&adapter.get_info(), adapter.features(), &adapter.limits()))
        .collect()
}

async fn choose_adapter(instance: &wgpu::Instance) -> Result<wgpu::Adapter, Error> {
    let backends = wgpu::Backends::from_env().unwrap_or_default();
    let name = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
    let none = |detail: String| Error::NoAdapter {
        searched: format!("backends {backends:?}{detail}"),
        install: INSTALL_A_DRIVER,
    };
    if let Some(name) = name {
        let wanted = name.to_lowercase();
        let found = instance.enumerate_adapters(backends).await;
        let names: Vec<String> = found.iter().map(|adapter| adapter.get_info().name).collect();
        return found
            .into_iter()
            .find(|adapter| adapter.get_info().name.to_lowercase().contains(&wanted))
            .ok_or_else(|| none(format!(", WGPU_ADAPTER_NAME={name}, among {names:?}")));
    }
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::from_env().unwrap_or(wgpu::PowerPreference::HighPerformance),
        ..Default::default()
    };
    instance.request_adapter(&options).await.map_err(|e| none(format!(": {e}")))
}
