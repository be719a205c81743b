//! What the tests and the conformance runner share.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod cases;
pub mod compare;
pub mod conformance;
pub mod resident;
pub mod values;

use std::fmt::Display;
use std::sync::OnceLock;

use deeploss::{Context, INSTALL_A_DRIVER};

/// The GPU that all tests of a binary share: its pipelines are compiled once.
///
/// # Panics
/// Without an adapter: a test that needs a GPU must not pass where there is none.
pub fn gpu() -> &'static Context {
    static GPU: OnceLock<Context> = OnceLock::new();
    GPU.get_or_init(|| {
        Context::new().unwrap_or_else(|error| panic!("this test needs a GPU: {error}\nto run it, {INSTALL_A_DRIVER}"))
    })
}

/// A context on a device of the caller's own, made with these features and limits.
pub fn own_device(features: wgpu::Features, limits: wgpu::Limits) -> Context {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let device = async {
        let adapter = wgpu::util::initialize_adapter_from_env_or_default(&instance, None).await;
        let adapter = adapter.unwrap_or_else(|error| panic!("this test needs a GPU: {error}\n{INSTALL_A_DRIVER}"));
        let descriptor =
            wgpu::DeviceDescriptor { required_features: features, required_limits: limits, ..Default::default() };
        let (device, queue) = adapter.request_device(&descriptor).await.expect("a device");
        Context::from_wgpu(&adapter, device, queue)
    };
    pollster::block_on(device)
}

/// Both places where the host door computes, with their names.
pub fn places() -> [(&'static str, Context); 2] {
    [("gpu", gpu().clone()), ("cpu", Context::cpu())]
}

/// The outcomes of a table of cases.
#[derive(Default)]
pub struct Table {
    rows: usize,
    failed: usize,
    /// The rows of each reason, in the order of the first.
    reasons: Vec<(String, Vec<String>)>,
}

impl Table {
    pub fn row(&mut self, name: impl Display, outcome: Result<(), String>) {
        self.rows += 1;
        let Err(reason) = outcome else { return };
        self.failed += 1;
        match self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name.to_string()),
            None => self.reasons.push((reason, vec![name.to_string()])),
        }
    }
}

/// Fills a table, then panics with every reason and the rows that failed for it, not with the first only; also if there was no
/// row at all.
pub fn table(fill: impl FnOnce(&mut Table)) {
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

/// An error as a row's reason.
pub fn reason(error: impl Display) -> String {
    error.to_string()
}
