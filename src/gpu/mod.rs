//! What runs on a device: pipelines, prepared calls, readback. Names no loss.

pub(crate) mod faults;
pub(crate) mod pipeline;
pub(crate) mod prepared;
pub(crate) mod prove;
pub(crate) mod readback;
#[cfg(feature = "host")]
pub(crate) mod transfer;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use crate::adapter::AdapterFacts;
use crate::error::Error;
use pipeline::Pipelines;

/// What to do on a machine without an adapter; also the message of the tests.
#[cfg(not(target_arch = "wasm32"))]
pub const INSTALL_A_DRIVER: &str = "install a GPU driver, or Mesa's software Vulkan: \
    `apt-get install -y mesa-vulkan-drivers libvulkan1` (Debian, Ubuntu), `dnf install mesa-vulkan-drivers` (Fedora); \
    `Context::cpu()` runs without one";
/// What to do in a browser without an adapter.
#[cfg(target_arch = "wasm32")]
pub const INSTALL_A_DRIVER: &str =
    "use a browser that has WebGPU, from https or localhost; `Context::cpu()` runs without it";

/// Device, queue and what is cached for them.
#[derive(Debug)]
pub(crate) struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) facts: AdapterFacts,
    pub(crate) pipelines: Arc<Pipelines>,
    /// Prepared calls, see [`Gpu::prepared`].
    calls: Arc<AtomicU32>,
    has_run: OnceLock<wgpu::Buffer>,
}

/// So many prepared calls, and what wgpu keeps for them is handed over.
const CALLS_KEPT: u32 = 256;

impl Gpu {
    pub(crate) fn new(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let facts = AdapterFacts::of(&adapter.get_info(), device.features(), &device.limits());
        Self { device, queue, facts, pipelines: Arc::default(), calls: Arc::default(), has_run: OnceLock::new() }
    }

    /// The same device, with other facts. Pipelines are shared: a kernel is the same whatever led to it.
    pub(crate) fn with_facts(&self, facts: AdapterFacts) -> Self {
        Self {
            device: self.device.clone(),
            queue: self.queue.clone(),
            facts,
            pipelines: self.pipelines.clone(),
            calls: self.calls.clone(),
            has_run: self.has_run.clone(),
        }
    }

    /// A buffer that holds these bytes, at the next submit at the latest. Not mapped: on a device that is lost a browser throws then.
    pub(crate) fn filled_buffer(&self, label: &str, bytes: &[u8], usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: (bytes.len() as u64).next_multiple_of(4).max(4),
            usage: usage | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.write(&buffer, 0, bytes);
        buffer
    }

    /// Writes bytes into a buffer; the rest of their last word is 0, as a write is a whole number of words.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, at: u64, bytes: &[u8]) {
        let (words, rest) = bytes.split_at(bytes.len() & !3);
        self.queue.write_buffer(buffer, at, words);
        if !rest.is_empty() {
            let mut word = [0; 4];
            word[..rest.len()].copy_from_slice(rest);
            self.queue.write_buffer(buffer, at + words.len() as u64, &word);
        }
    }

    /// A buffer of one word that is not 0: what copies it has run.
    pub(crate) fn has_run(&self) -> &wgpu::Buffer {
        self.has_run
            .get_or_init(|| self.filled_buffer("deeploss.has_run", &1_u32.to_le_bytes(), wgpu::BufferUsages::COPY_SRC))
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
    let Some(instance) = instance() else { return Vec::new() };
    pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()))
        .iter()
        .map(|adapter| AdapterFacts::of(&adapter.get_info(), adapter.features(), &adapter.limits()))
        .collect()
}

/// What finds adapters. None where no backend was compiled in: wgpu panics then.
fn instance() -> Option<wgpu::Instance> {
    let is_some = !wgpu::Instance::enabled_backend_features().is_empty();
    is_some.then(|| wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env()))
}

/// The adapter that the environment asks for, else the best one.
pub(crate) async fn choose_adapter() -> Result<wgpu::Adapter, Error> {
    let Some(instance) = instance() else {
        return Err(Error::NoAdapter {
            searched: "no backends".into(),
            install: "build deeploss with one of the features `vulkan`, `metal`, `dx12`, `gles`, `webgpu`",
        });
    };
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
