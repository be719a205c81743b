//! What a device refuses, runs out of, or no longer does, as errors: left alone, wgpu panics, or says nothing at all.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;

/// What `make` makes on the device; an error if the device refuses any of it, has no memory for it, or is lost.
///
/// Errors are caught by scopes, which belong to the thread. In a browser they resolve later: there the device reports them itself.
pub(crate) fn checked<T>(device: &wgpu::Device, what: &str, make: impl FnOnce() -> T) -> Result<T, Error> {
    let filters = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal];
    let scopes = filters.map(|filter| device.push_error_scope(filter));
    let made = make();
    // All are popped, the last one first, whatever they hold.
    let errors: Vec<_> = scopes.into_iter().rev().map(wgpu::ErrorScopeGuard::pop).collect();
    if cfg!(target_arch = "wasm32") {
        return Ok(made);
    }
    let error = errors.into_iter().find_map(pollster::block_on);
    if is_lost(device) {
        return Err(lost(what));
    }
    error.map_or(Ok(made), |error| Err(Error::device_caused(what, error)))
}

/// Whether the device is lost or destroyed. wgpu tells a callback, of which a device has one, and that may be the caller's. But a device
/// refuses a buffer that is larger than any, and does not even look at it once it is lost.
pub(crate) fn is_lost(device: &wgpu::Device) -> bool {
    if cfg!(target_arch = "wasm32") {
        return false;
    }
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    drop(device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: u64::MAX - 3,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    }));
    pollster::block_on(scope.pop()).is_none()
}

/// The error of a device that [is lost](is_lost).
pub(crate) fn lost(what: &str) -> Error {
    Error::device(format!("{what}: the device was lost or destroyed; make a new `Context`"))
}

/// Waits until everything that was submitted is done.
pub(crate) fn wait(device: &wgpu::Device) -> Result<(), Error> {
    let what = "waiting for the device";
    // wgpu panics if the driver loses the device meanwhile.
    match catch_unwind(AssertUnwindSafe(|| device.poll(wgpu::PollType::wait_indefinitely()))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::device_caused(what, error)),
        Err(_) => Err(lost(what)),
    }
}
