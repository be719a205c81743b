//! What is known of a device of Burn's, and kept for it: its facts, the calls that were planned, and what was found
//! wrong.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::client::Client;
#[cfg(not(target_family = "wasm"))]
use burn_cubecl::cubecl::future::block_on;
use burn_cubecl::cubecl::ir::features::Plane;
use burn_cubecl::cubecl::ir::{ElemType, UIntKind};
use burn_cubecl::cubecl::server::{Handle, ServerError};
use deeploss::internals::{Checked, Proof, check_status};
use deeploss::{AdapterFacts, Error, Proven};

use crate::call::Call;
use crate::launch::try_kernel;

/// Calls that are remembered for a device, the latest first. A training loop has a few shapes.
const CALLS: usize = 64;
/// Statuses that wait, and bytes that they keep from the allocator, before they are fetched.
const STATUSES: usize = 256;
const STATUS_BYTES: u64 = 1 << 20;

/// A device of Burn's.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) facts: AdapterFacts,
    calls: Mutex<VecDeque<Arc<Call>>>,
    found: Mutex<Found>,
    /// Whoever fetches statuses holds it: nobody may find nothing because another thread has them in hand.
    fetching: Mutex<()>,
}

/// What the losses of a device have found, and what they may have.
#[derive(Default)]
struct Found {
    /// The first error that nobody has asked for yet.
    error: Option<Error>,
    /// Statuses on the device.
    waiting: Vec<Status>,
    bytes: u64,
    /// Statuses on their way to the host.
    coming: Vec<Coming>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Found {{ error: {:?}, waiting: {} }}", self.error, self.waiting.len())
    }
}

/// A status that a loss leaves on the device: which of its items are invalid.
pub(crate) struct Status {
    pub(crate) checked: Checked,
    pub(crate) client: Client,
    pub(crate) words: Handle,
}

type Words = Result<Vec<Vec<u8>>, ServerError>;

struct Coming {
    checked: Vec<Checked>,
    words: Pin<Box<dyn Future<Output = Words> + Send>>,
}

/// Another thread's panic says nothing of what it was about to change here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    /// The machine of a device. The first call for a device tries its arithmetic out by tiny kernels, and waits for
    /// them.
    pub(crate) fn of(device: &CubeDevice) -> Result<Arc<Self>, Error> {
        type Known = Arc<OnceLock<Result<Arc<Machine>, Error>>>;
        static MACHINES: Mutex<Vec<(CubeDevice, Known)>> = Mutex::new(Vec::new());
        let known = {
            let mut machines = lock(&MACHINES);
            match machines.iter().find(|(known, _)| known == device) {
                Some((_, known)) => known.clone(),
                None => {
                    let known = Known::default();
                    machines.push((device.clone(), known.clone()));
                    known
                }
            }
        };
        known.get_or_init(|| Self::new(device).map(Arc::new)).clone()
    }

    fn new(device: &CubeDevice) -> Result<Self, Error> {
        let refuse = |what: String, why: &str, instead| Err(Error::Unsupported { what, why: why.into(), instead });
        if !matches!(device, CubeDevice::Wgpu(_)) {
            return refuse(
                format!("the device {device:?}"),
                "deeploss runs on Burn's wgpu devices",
                "use `Device::wgpu(..)`, or Burn's own losses",
            );
        }
        let client = device.client();
        if client.name() != "wgpu<wgsl>" {
            return refuse(
                format!("a device whose kernels are compiled by {}", client.name()),
                "that compiler takes no kernels in WGSL",
                "build Burn with its feature `wgpu`, without `vulkan` and `metal`: it runs on the same GPUs",
            );
        }
        let mut facts = facts(&client);
        facts.proven = prove(&client, &facts);
        log::debug!("deeploss on Burn's {}: proven {}", facts.name, facts.proven);
        Ok(Self { facts, calls: Mutex::default(), found: Mutex::default(), fetching: Mutex::default() })
    }

    /// The call that `is` is true of, or a new one, which the device remembers.
    pub(crate) fn call(
        &self,
        is: impl Fn(&Call) -> bool,
        make: impl FnOnce() -> Result<Call, Error>,
    ) -> Result<Arc<Call>, Error> {
        let mut calls = lock(&self.calls);
        if let Some(at) = calls.iter().position(|call| is(call)) {
            // To the front: the one that is asked for least falls out.
            let call = calls.remove(at).expect("it was found there");
            calls.push_front(call.clone());
            return Ok(call);
        }
        let call = Arc::new(make()?);
        calls.push_front(call.clone());
        calls.truncate(CALLS);
        Ok(call)
    }

    /// Keeps an error for whoever asks next, and tells the log.
    pub(crate) fn report(&self, error: Error) {
        log::error!("deeploss: {error}");
        lock(&self.found).error.get_or_insert(error);
    }

    /// Keeps a status. Now and then those that wait are fetched, which waits for nothing.
    pub(crate) fn watch(&self, status: Status) {
        {
            let mut found = lock(&self.found);
            found.bytes += status.words.size();
            found.waiting.push(status);
        }
        // The runtime's threads come here: they must not wait for one that waits for the runtime. It will be done
        // another time.
        let Ok(_fetching) = self.fetching.try_lock() else { return };
        let (due, mut coming) = {
            let mut found = lock(&self.found);
            let is_due = found.waiting.len() >= STATUSES || found.bytes >= STATUS_BYTES;
            (if is_due { found.take_waiting() } else { Vec::new() }, std::mem::take(&mut found.coming))
        };
        coming.extend(fetch(due));
        let mut context = Context::from_waker(Waker::noop());
        coming.retain_mut(|coming| match coming.words.as_mut().poll(&mut context) {
            Poll::Pending => true,
            Poll::Ready(words) => {
                self.judge(&coming.checked, words);
                false
            }
        });
        lock(&self.found).coming.append(&mut coming);
    }

    /// The first error that was found since it was asked for last. Waits for the device.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn check(&self) -> Result<(), Error> {
        let _fetching = lock(&self.fetching);
        let (waiting, mut coming) = {
            let mut found = lock(&self.found);
            (found.take_waiting(), std::mem::take(&mut found.coming))
        };
        coming.extend(fetch(waiting));
        for Coming { checked, words } in coming {
            self.judge(&checked, block_on(words));
        }
        lock(&self.found).error.take().map_or(Ok(()), Err)
    }

    fn judge(&self, checked: &[Checked], words: Words) {
        match words {
            Ok(words) => {
                let errors =
                    checked.iter().zip(words).filter_map(|(&checked, words)| check_status(checked, &words).err());
                errors.for_each(|error| self.report(error));
            }
            Err(error) => self.report(Error::device(format!("the status of a loss cannot be read: {error}"))),
        }
    }
}

impl Found {
    fn take_waiting(&mut self) -> Vec<Status> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

/// Sends for statuses. Those of one stream of the runtime's come together.
fn fetch(mut waiting: Vec<Status>) -> Vec<Coming> {
    let mut coming = Vec::new();
    while let Some(first) = waiting.first() {
        let (client, stream) = (first.client.clone(), first.words.stream);
        let (together, others): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|status| status.words.stream == stream);
        waiting = others;
        let checked = together.iter().map(|status| status.checked).collect();
        let handles = together.into_iter().map(|status| status.words).collect();
        let words = async move {
            let words = client.read_async(handles).await?;
            Ok(words.iter().map(|bytes| bytes.to_vec()).collect())
        };
        coming.push(Coming { checked, words: Box::pin(words) });
    }
    coming
}

/// What the runtime tells of its device.
fn facts(client: &Client) -> AdapterFacts {
    let properties = client.properties();
    let (hardware, memory) = (&properties.hardware, &properties.memory);
    let mut facts = AdapterFacts::default();
    facts.name.clone_from(&properties.identity.name);
    facts.backend = client.name().into();
    // Software is no card.
    facts.is_cpu = cfg!(not(target_family = "wasm")) && properties.identity.physical.is_none();
    // The runtime makes sizes up where it knows none. Of software it uses no subgroups, and has them where it can.
    let has_subgroups = facts.is_cpu || properties.features.plane.contains(Plane::Ops);
    facts.subgroup = has_subgroups.then_some((hardware.plane_size_min, hardware.plane_size_max));
    facts.int64 = !properties.type_usage(ElemType::UInt(UIntKind::U64)).is_empty();
    facts.max_buffer = memory.max_page_size;
    facts.max_binding = memory.max_page_size;
    // The runtime leaves one out of account.
    facts.max_storage_buffers = hardware.max_bindings + 1;
    facts.offset_alignment = memory.alignment;
    facts.max_workgroups = hardware.max_cube_count.0.min(hardware.max_cube_count.1);
    facts.max_invocations = hardware.max_units_per_cube.min(hardware.max_cube_dim.0);
    facts.max_workgroup_memory = u32::try_from(hardware.max_shared_memory_size).unwrap_or(u32::MAX);
    facts
}

/// What tiny kernels prove. In a browser, which cannot wait, nothing.
fn prove(client: &Client, facts: &AdapterFacts) -> Proven {
    if cfg!(target_family = "wasm") {
        return Proven::default();
    }
    let proof = Proof::new(facts);
    let outputs: Vec<_> = proof.trials().iter().map(|trial| try_kernel(client, trial)).collect();
    let read = |output| match client.read_one(output) {
        Ok(bytes) => bytes.to_vec(),
        Err(error) => {
            log::debug!("deeploss could not try a kernel: {error}");
            Vec::new()
        }
    };
    proof.verdict(&outputs.into_iter().map(read).collect::<Vec<_>>()).unwrap_or_default()
}
