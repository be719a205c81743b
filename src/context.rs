//! The device that losses run on: a GPU of ours, the caller's, or the CPU reference path.

use std::sync::Arc;

use crate::adapter::AdapterFacts;
use crate::error::Error;
use crate::gpu::prove::prove;
use crate::gpu::{Gpu, choose_adapter};
use crate::tuning::Tuning;

/// Where losses are computed. Cheap to clone, `Send` and `Sync`; several threads may prepare and record with one context. It keeps
/// compiled pipelines, 1024 at most, and nothing else that grows.
///
/// ```
/// # #[cfg(feature = "host")] {
/// let ctx = deeploss::Context::new_or_cpu();      // a GPU if there is one, else the CPU
/// let other = ctx.clone();
/// std::thread::spawn(move || println!("{}", other.describe())).join().unwrap();
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Context {
    gpu: Option<Arc<Gpu>>,
    tuning: Arc<Tuning>,
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
        let adapter = choose_adapter().await?;
        // Timestamps cost nothing where none is written, and tell what a call takes on the device.
        let wanted = Self::FEATURES | wgpu::Features::SHADER_F16 | wgpu::Features::TIMESTAMP_QUERY;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("deeploss"),
            required_features: adapter.features() & wanted,
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| Error::device_caused("the adapter gives no device", e))?;
        let ctx = Self::from_wgpu(&adapter, device, queue);
        Ok(ctx.prove_async().await.unwrap_or_else(|error| {
            log::warn!("deeploss proves nothing of this device: {error}");
            ctx
        }))
    }

    /// The caller's device and queue: losses then run on the caller's buffers and encoders. Uses what the device was created
    /// with: [`FEATURES`](Self::FEATURES) give faster kernels, WebGPU's default limits suffice. So does
    /// [`prove`](Self::prove), which this does not call: it submits nothing to the caller's queue.
    #[must_use]
    pub fn from_wgpu(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let gpu = Gpu::new(adapter, device, queue);
        log::debug!("deeploss on {} ({})", gpu.facts.name, gpu.facts.backend);
        Self { gpu: Some(Arc::new(gpu)), tuning: Arc::default() }
    }

    /// The same device, queue and compiled pipelines, with [`AdapterFacts::proven`] found out by tiny kernels: calls prepared with
    /// the new context may run faster. [`Context::new`] has done so already. Submits to the queue and waits for it: call it once,
    /// before the work begins.
    ///
    /// ```no_run
    /// # fn example(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) -> Result<(), deeploss::Error> {
    /// let ctx = deeploss::Context::from_wgpu(adapter, device, queue).prove()?;
    /// println!("proven: {}", ctx.facts().unwrap().proven);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Device`] if a kernel is refused or the device is lost, [`Error::Unsupported`] on the CPU.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn prove(&self) -> Result<Self, Error> {
        pollster::block_on(self.prove_async())
    }

    /// [`Context::prove`] as a future, for browsers; elsewhere it blocks as well, for some milliseconds.
    ///
    /// # Errors
    /// As [`Context::prove`].
    pub async fn prove_async(&self) -> Result<Self, Error> {
        let gpu = self.require_gpu()?;
        let proven = prove(gpu).await?;
        log::debug!("deeploss has proven of {}: {proven}", gpu.facts.name);
        if !proven.opaque {
            log::warn!(
                "the shader compiler of {} reorders arithmetic that was written to be kept: long sums and exponentials lose digits",
                gpu.facts.name
            );
        }
        self.with_facts(AdapterFacts { proven, ..gpu.facts.clone() })
    }

    /// The same device, planned for as if these were its facts: how tests find out what becomes of a kernel that a device refuses.
    #[doc(hidden)]
    pub fn with_facts(&self, facts: AdapterFacts) -> Result<Self, Error> {
        let gpu = self.require_gpu()?.with_facts(facts);
        Ok(Self { gpu: Some(Arc::new(gpu)), tuning: self.tuning.clone() })
    }

    /// The CPU: the same host API, computed by the reference path in parallel. GPU-resident calls are refused.
    #[cfg(feature = "host")]
    #[must_use]
    pub fn cpu() -> Self {
        Self { gpu: None, tuning: Arc::default() }
    }

    /// The same device and queue, with compiled pipelines still shared; calls prepared with the new context follow `tuning`. One
    /// that was measured on another adapter or by another version of the crate says nothing here: its entries are left out,
    /// with a warning in the log.
    ///
    /// ```
    /// # #[cfg(feature = "host")] {
    /// use deeploss::{Context, Tuning};
    /// let ctx = Context::new_or_cpu().with_tuning(Tuning::default().runtime_checks(false));
    /// assert!(ctx.tuning().is_empty());
    /// # }
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
    #[cfg(all(feature = "host", not(target_arch = "wasm32")))]
    #[must_use]
    pub fn new_or_cpu() -> Self {
        pollster::block_on(Self::new_or_cpu_async())
    }

    /// [`Context::new_or_cpu`] as a future, for browsers, many of which have no WebGPU.
    #[cfg(feature = "host")]
    pub async fn new_or_cpu_async() -> Self {
        Self::new_async().await.unwrap_or_else(|error| {
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
            #[cfg(feature = "host")]
            None => format!("CPU reference path, {} threads", rayon::current_num_threads()),
            #[cfg(not(feature = "host"))]
            None => "no device".into(),
        }
    }

    /// How many compiled pipelines the device keeps.
    #[doc(hidden)]
    #[must_use]
    pub fn cached_pipelines(&self) -> usize {
        self.gpu.as_deref().map_or(0, |gpu| gpu.pipelines.len())
    }

    #[cfg(feature = "host")]
    pub(crate) fn gpu(&self) -> Option<&Arc<Gpu>> {
        self.gpu.as_ref()
    }

    pub(crate) fn require_gpu(&self) -> Result<&Arc<Gpu>, Error> {
        self.gpu.as_ref().ok_or(Error::Unsupported {
            what: "what runs on a device".into(),
            why: "this context computes on the CPU".into(),
            instead: "use `evaluate` with host arrays, or a context with an adapter",
        })
    }
}
