//! What runs on a device: pipelines, prepared calls, readback. Names no loss.

pub(crate) mod faults;
pub(crate) mod pipeline;
pub(crate) mod prepared;
pub(crate) mod prove;
pub(crate) mod readback;
#[cfg(all(feature = "host", not(target_arch = "wasm32")))]
pub(crate) mod transfer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::adapter::{AdapterFacts, Proven};
use crate::error::Error;
use pipeline::Pipelines;

/// What to do on a machine without an adapter; also the message of the tests.
pub const INSTALL_A_DRIVER: &str = "install a GPU driver, or Mesa's software Vulkan: \
    `apt-get install -y mesa-vulkan-drivers libvulkan1` (Debian, Ubuntu), `dnf install mesa-vulkan-drivers` (Fedora); \
    `Context::cpu()` runs without one";

/// Device, queue and what is cached for them.
#[derive(Debug)]
pub(crate) struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) facts: AdapterFacts,
    pub(crate) pipelines: Arc<Pipelines>,
    /// Prepared calls, see [`Gpu::prepared`].
    calls: Arc<AtomicU32>,
}

/// So many prepared calls, and what wgpu keeps for them is handed over.
const CALLS_KEPT: u32 = 256;

impl Gpu {
    pub(crate) fn new(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let facts = AdapterFacts::of(&adapter.get_info(), device.features(), &device.limits());
        Self { device, queue, facts, pipelines: Arc::default(), calls: Arc::default() }
    }

    /// The same device, with what was proven of it. Pipelines are shared: a kernel is the same whatever led to it.
    pub(crate) fn proven(&self, proven: Proven) -> Self {
        Self {
            device: self.device.clone(),
            queue: self.queue.clone(),
            facts: AdapterFacts { proven, ..self.facts.clone() },
            pipelines: self.pipelines.clone(),
            calls: self.calls.clone(),
        }
    }

    /// Tells that a call has been prepared. wgpu keeps the contents of new buffers until the next submit, whoever makes it: prepared
    /// calls that are never run would take ever more memory, so now and then there is a submit of nothing.
    pub(crate) fn prepared(&self) {
        if self.calls.fetch_add(1, Ordering::Relaxed) % CALLS_KEPT == CALLS_KEPT - 1 {
            self.queue.submit([]);
        }
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

/// The adapter that the environment asks for, else the best one.
pub(crate) async fn choose_adapter(instance: &wgpu::Instance) -> Result<wgpu::Adapter, Error> {
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
