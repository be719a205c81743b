//! What the tests and the conformance runner share.

pub(crate) mod cases;
pub(crate) mod compare;
pub(crate) mod conformance;
pub(crate) mod plans;
pub(crate) mod resident;
pub(crate) mod soak;
pub(crate) mod values;
pub(crate) mod wgsl;

use std::env;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use deeploss::{AdapterFacts, Context, INSTALL_A_DRIVER};

/// Where the files of this crate are: in its checkout, or in the copy that DEEPLOSS_ROOT names on a machine without
/// one.
pub(crate) fn root() -> PathBuf {
    env::var_os("DEEPLOSS_ROOT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// Where tests may write.
pub(crate) fn scratch() -> PathBuf {
    let target = option_env!("CARGO_TARGET_TMPDIR").filter(|_| env::var_os("DEEPLOSS_ROOT").is_none());
    target.map_or_else(env::temp_dir, PathBuf::from)
}

/// The GPU of this test. Every test has a device of its own, which is dropped some time after the test's thread has
/// ended: only then does a software driver give back the megabyte that it takes for each pipeline, and all tests
/// together compile tens of thousands.
///
/// # Panics
/// Without an adapter: a test that needs a GPU must not pass where there is none.
pub(crate) fn gpu() -> Context {
    // A thread that ends cannot drop a device, so it has only a token that tells whether it still runs.
    static DEVICES: Mutex<Vec<(Weak<()>, Context)>> = Mutex::new(Vec::new());
    thread_local! {
        static RUNS: Arc<()> = Arc::new(());
    }
    let thread = RUNS.with(Arc::downgrade);
    let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, ctx)) = devices.iter().find(|(owner, _)| owner.ptr_eq(&thread)) {
        return ctx.clone();
    }
    devices.retain(|(owner, _)| owner.strong_count() > 0);
    give_memory_back();
    let ctx = Context::new();
    let ctx = ctx.unwrap_or_else(|error| panic!("this test needs a GPU: {error}\nto run it, {INSTALL_A_DRIVER}"));
    devices.push((thread, ctx.clone()));
    ctx
}

/// What was freed goes back to the system; glibc keeps gigabytes otherwise, in an arena of each thread.
fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the function may be called at any time, by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What it can do.
pub(crate) fn facts() -> AdapterFacts {
    gpu().facts().expect("a GPU context").clone()
}

/// A context on a device of the caller's own, made with these features and limits.
pub(crate) fn own_device(features: wgpu::Features, limits: wgpu::Limits) -> Context {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    device_of(&instance, features, limits)
}

/// A context on a device of this instance.
pub(crate) fn device_of(instance: &wgpu::Instance, features: wgpu::Features, limits: wgpu::Limits) -> Context {
    let device = async {
        let adapter = wgpu::util::initialize_adapter_from_env_or_default(instance, None).await;
        let adapter = adapter.unwrap_or_else(|error| panic!("this test needs a GPU: {error}\n{INSTALL_A_DRIVER}"));
        let descriptor =
            wgpu::DeviceDescriptor { required_features: features, required_limits: limits, ..Default::default() };
        let (device, queue) = adapter.request_device(&descriptor).await.expect("a device");
        Context::from_wgpu(&adapter, device, queue)
    };
    pollster::block_on(device)
}

/// Both places where the host API computes, with their names.
pub(crate) fn places() -> [(&'static str, Context); 2] {
    [("gpu", gpu()), ("cpu", Context::cpu())]
}

/// Runs an ignored test of this program in a process of its own, because of what it does to its process or measures of it.
#[cfg(target_os = "linux")]
pub(crate) fn in_its_own_process(name: &str) {
    let child = std::process::Command::new(env::current_exe().expect("this program"))
        .args([name, "--exact", "--ignored", "--nocapture"])
        .output()
        .expect("a process");
    let text = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
}

/// Bytes of this process by the system's name: `VmSize`, `VmRSS`, `VmHWM` (the largest VmRSS so far).
#[cfg(target_os = "linux")]
pub(crate) fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a line of that name");
    1024 * line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).expect("a number")
}

/// The outcomes of a table of cases.
#[derive(Default)]
pub(crate) struct Table {
    rows: usize,
    failed: usize,
    /// The rows of each reason, in the order of the first.
    reasons: Vec<(String, Vec<String>)>,
}

impl Table {
    pub(crate) fn row(&mut self, name: impl Display, outcome: Result<(), String>) {
        self.rows += 1;
        let Err(reason) = outcome else { return };
        self.failed += 1;
        match self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name.to_string()),
            None => self.reasons.push((reason, vec![name.to_string()])),
        }
    }
}

/// Fills a table, then panics with every reason and the rows that failed for it, not with the first only; also if there
/// was no row at all.
pub(crate) fn table(fill: impl FnOnce(&mut Table)) {
    const SHOWN: usize = 40;
    let mut table = Table::default();
    fill(&mut table);
    assert!(table.rows > 0, "the table of cases is empty: nothing was tested");
    let mut text = format!("{} of {} rows failed:", table.failed, table.rows);
    for (reason, names) in table.reasons.iter().take(SHOWN) {
        let more = if names.len() > 3 { format!("\n    and {} more", names.len() - 3) } else { String::new() };
        let names: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
        text += &format!("\n  {reason}\n    {}{more}", names.join("\n    "));
    }
    text += if table.reasons.len() > SHOWN { "\n  ... and for other reasons" } else { "" };
    assert!(table.failed == 0, "{text}");
}

/// A row's outcome: what must hold, and what to say if it does not.
pub(crate) fn ensure<R: Into<String>>(holds: bool, otherwise: impl FnOnce() -> R) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}

/// An error as a row's reason.
pub(crate) fn reason(error: impl Display) -> String {
    error.to_string()
}
