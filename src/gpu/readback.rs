//! From GPU buffers to the host: the only asynchronous code.

use std::future::Future;
use std::sync::Arc;

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};

use super::Gpu;
use crate::error::Error;
use crate::lowered::Checked;

/// Tensors on their way to the host. Made by [`Prepared::read`](crate::Prepared::read) while recording; resolved after the
/// caller's submit.
#[derive(Debug)]
#[must_use = "nothing is read until it is awaited or `wait` is called"]
pub struct Readback {
    gpu: Arc<Gpu>,
    staging: wgpu::Buffer,
    ranges: Vec<(u64, u64)>,
    checked: Option<Checked>,
}

impl Readback {
    pub(crate) fn record(
        gpu: &Arc<Gpu>,
        encoder: &mut wgpu::CommandEncoder,
        tensors: &[wgpu::BufferBinding<'_>],
        status: Option<(Checked, wgpu::BufferBinding<'_>)>,
    ) -> Self {
        let sources: Vec<_> = tensors.iter().chain(status.as_ref().map(|(_, binding)| binding)).collect();
        let mut ranges = Vec::with_capacity(sources.len());
        let mut end = 0;
        for source in &sources {
            let size = source.size.map_or(source.buffer.size() - source.offset, wgpu::BufferSize::get);
            ranges.push((end, size));
            end = (end + size).next_multiple_of(8);
        }
        let staging = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("deeploss.staging"),
            size: end.max(4),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        for (source, &(at, size)) in sources.iter().zip(&ranges) {
            if size > 0 {
                encoder.copy_buffer_to_buffer(source.buffer, source.offset, &staging, at, size);
            }
        }
        Self { gpu: gpu.clone(), staging, ranges, checked: status.map(|(checked, _)| checked) }
    }

    /// Resolves to the bytes of each tensor, once the caller's submit is done and somebody polls the device
    /// (a browser does so by itself).
    ///
    /// # Errors
    /// [`Error::Device`]; [`Error::Invalid`] if the kernel found invalid targets.
    pub fn resolve(self) -> impl Future<Output = Result<Vec<Vec<u8>>, Error>> {
        let mapped = self.map();
        async move {
            match mapped.receive().await {
                Some(Ok(())) => self.take(),
                Some(Err(error)) => Err(Error::device_caused("the readback cannot be mapped", error)),
                None => Err(Error::device("the device was dropped before the readback")),
            }
        }
    }

    /// Blocks until the submitted work is done; then as [`Readback::resolve`].
    ///
    /// # Errors
    /// As [`Readback::resolve`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(self) -> Result<Vec<Vec<u8>>, Error> {
        let gpu = self.gpu.clone();
        let resolved = self.resolve();
        gpu.device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|e| Error::device_caused("waiting for the device", e))?;
        pollster::block_on(resolved)
    }

    fn map(&self) -> OneshotReceiver<Result<(), wgpu::BufferAsyncError>> {
        let (sender, receiver) = oneshot_channel();
        self.staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver may be gone: nobody waits then.
            let _ = sender.send(result);
        });
        receiver
    }

    fn take(self) -> Result<Vec<Vec<u8>>, Error> {
        let view =
            self.staging.get_mapped_range(..).map_err(|e| Error::device_caused("the readback is not mapped", e))?;
        let mut parts: Vec<Vec<u8>> =
            self.ranges.iter().map(|&(at, size)| view[at as usize..(at + size) as usize].to_vec()).collect();
        drop(view);
        self.staging.unmap();
        if let Some(checked) = self.checked
            && let Some(status) = parts.pop()
        {
            check_status(checked, &status)?;
        }
        Ok(parts)
    }
}

fn check_status(checked: Checked, bytes: &[u8]) -> Result<(), Error> {
    match *bytemuck::pod_collect_to_vec::<u8, u32>(bytes) {
        [count, first, value] if count > 0 => {
            let (argument, value) = match checked {
                Checked::Labels => ("target", (value as i32).to_string()),
                Checked::LabelLists => ("target", "a label that is no class".to_owned()),
                Checked::Input => ("input", f32::from_bits(value).to_string()),
            };
            Err(Error::Invalid { argument, count, first, value })
        }
        _ => Ok(()),
    }
}
