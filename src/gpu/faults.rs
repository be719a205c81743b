//! What a device refuses, runs out of, or no longer does, as errors: left alone, wgpu panics, or says nothing at all.

#[cfg(not(target_arch = "wasm32"))]
use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(target_arch = "wasm32")]
use futures_intrusive::channel::shared::{OneshotBroadcastReceiver, oneshot_broadcast_channel};

use crate::error::Error;

/// What `make` makes on the device; an error if the device refuses any of it, has no memory for it, or is lost. In a browser the log
/// has it, later: ask [`watched`] for the verdict.
pub(crate) fn checked<T>(device: &wgpu::Device, what: &str, make: impl FnOnce() -> T) -> Result<T, Error> {
    watched(device, what, make).map(|(made, _)| made)
}

/// As [`checked`], with what a browser tells of it later.
pub(crate) fn watched<T>(device: &wgpu::Device, what: &str, make: impl FnOnce() -> T) -> Result<(T, Verdict), Error> {
    let filters = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal];
    let scopes = filters.map(|filter| device.push_error_scope(filter));
    let made = make();
    // All are popped, the last one first, whatever they hold.
    let errors: Vec<_> = scopes.into_iter().rev().map(wgpu::ErrorScopeGuard::pop).collect();
    Verdict::of(device, what, errors).map(|verdict| (made, verdict))
}

/// What the device says of something that was made on it. Natively it has said so by then: an error has been returned. A browser
/// says so later, to whoever awaits it, and to the log in any case.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    #[cfg(target_arch = "wasm32")]
    told: OneshotBroadcastReceiver<Result<(), Error>>,
}

#[cfg(not(target_arch = "wasm32"))]
impl Verdict {
    /// Errors are caught by scopes, which belong to the thread.
    fn of<E>(device: &wgpu::Device, what: &str, errors: Vec<E>) -> Result<Self, Error>
    where
        E: Future<Output = Option<wgpu::Error>>,
    {
        let error = errors.into_iter().find_map(pollster::block_on);
        if pollster::block_on(is_lost(device)) {
            return Err(lost(what));
        }
        error.map_or(Ok(Self {}), |error| Err(Error::device_caused(what, error)))
    }

    #[expect(clippy::unused_async, reason = "a browser tells later")]
    pub(crate) async fn settled(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(target_arch = "wasm32")]
impl Verdict {
    #[expect(clippy::unnecessary_wraps, reason = "natively an error is known at once")]
    fn of<E>(device: &wgpu::Device, what: &str, errors: Vec<E>) -> Result<Self, Error>
    where
        E: Future<Output = Option<wgpu::Error>> + 'static,
    {
        let (device, what) = (device.clone(), what.to_owned());
        let (sender, told) = oneshot_broadcast_channel();
        wasm_bindgen_futures::spawn_local(async move {
            let mut verdict = Ok(());
            for error in errors {
                if let (Some(error), true) = (error.await, verdict.is_ok()) {
                    verdict = Err(Error::device(format!("{what}: {error}")));
                }
            }
            if is_lost(&device).await {
                verdict = Err(lost(&what));
            }
            if let Err(error) = &verdict {
                log::error!("deeploss: {error}");
            }
            // Nobody may have waited for it.
            let _ = sender.send(verdict);
        });
        Ok(Self { told })
    }

    pub(crate) async fn settled(&self) -> Result<(), Error> {
        self.told.receive().await.unwrap_or(Ok(()))
    }
}

/// Whether the device is lost or destroyed. wgpu tells a callback, of which a device has one, and that may be the caller's. But a device
/// refuses a buffer that is larger than any, and does not even look at it once it is lost. Natively the future is ready at once.
pub(crate) async fn is_lost(device: &wgpu::Device) -> bool {
    // JavaScript has no larger integers.
    let size = if cfg!(target_arch = "wasm32") { (1 << 53) - 4 } else { u64::MAX - 3 };
    // Firefox has no memory for it, where others find it invalid.
    let filters = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory];
    let scopes = filters.map(|filter| device.push_error_scope(filter));
    drop(device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    }));
    let errors: Vec<_> = scopes.into_iter().rev().map(wgpu::ErrorScopeGuard::pop).collect();
    let mut is_refused = false;
    for error in errors {
        is_refused |= error.await.is_some();
    }
    !is_refused
}

/// The error of a device that [is lost](is_lost).
pub(crate) fn lost(what: &str) -> Error {
    Error::device(format!("{what}: the device was lost or destroyed; make a new `Context`"))
}

/// Waits until everything that was submitted is done.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn wait(device: &wgpu::Device) -> Result<(), Error> {
    let what = "waiting for the device";
    // wgpu panics if the driver loses the device meanwhile.
    match catch_unwind(AssertUnwindSafe(|| device.poll(wgpu::PollType::wait_indefinitely()))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::device_caused(what, error)),
        Err(_) => Err(lost(what)),
    }
}
