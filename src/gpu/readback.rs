//! From GPU buffers to the host: the only asynchronous code.

use std::ops::Range;
use std::sync::Arc;

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};

use super::Gpu;
use super::faults::{Verdict, is_lost, lost, watched};
use crate::error::Error;
use crate::lowered::Checked;

/// Tensors on their way to the host. Made by [`Prepared::read`](crate::Prepared::read) while recording; resolved after the
/// caller's submit.
#[derive(Debug)]
#[must_use = "nothing is read until it is awaited or `wait` is called"]
pub struct Readback {
    gpu: Arc<Gpu>,
    staging: Vec<Staging>,
    /// Of each tensor, which staging buffer it is copied to, and where.
    places: Vec<(usize, Range<usize>)>,
    checked: Option<Checked>,
    verdicts: Vec<Verdict>,
}

/// A buffer that is mapped as soon as what fills it has been submitted and is done.
#[derive(Debug)]
struct Staging {
    buffer: wgpu::Buffer,
    mapped: OneshotReceiver<Result<(), wgpu::BufferAsyncError>>,
}

/// What a receipt holds until the commands write into it. A submit that the device refuses maps what was to be filled all the same.
const NOT_RUN: u32 = 0;
/// Bytes of a receipt.
const RECEIPT: u64 = 4;

impl Readback {
    /// The ranges have been checked.
    pub(crate) fn record(
        gpu: &Arc<Gpu>,
        encoder: &mut wgpu::CommandEncoder,
        tensors: &[wgpu::BufferBinding<'_>],
        status: Option<(Checked, wgpu::BufferBinding<'_>)>,
        mut verdicts: Vec<Verdict>,
    ) -> Result<Self, Error> {
        let sources: Vec<_> = tensors.iter().chain(status.as_ref().map(|(_, binding)| binding)).collect();
        // Neighbours in one staging buffer, as long as it is no larger than the device allows.
        let mut places = Vec::with_capacity(sources.len());
        let mut sizes = vec![0_u64];
        for source in &sources {
            let size = size_of_range(source);
            let end = sizes.last().map_or(0, |end| end.next_multiple_of(8));
            if end > 0 && end + size > gpu.facts.max_buffer {
                sizes.push(0);
            }
            if let Some(end) = sizes.last_mut() {
                let at = end.next_multiple_of(8);
                *end = at + size;
                places.push((sizes.len() - 1, at as usize..(at + size) as usize));
            }
        }
        let copies = |encoder: &mut wgpu::CommandEncoder, buffers: &[wgpu::Buffer]| {
            for (source, (number, at)) in sources.iter().zip(&places) {
                if !at.is_empty() {
                    let size = at.len() as u64;
                    encoder.copy_buffer_to_buffer(
                        source.buffer,
                        source.offset,
                        &buffers[*number],
                        at.start as u64,
                        size,
                    );
                }
            }
            if let Some(receipt) = buffers.last() {
                encoder.copy_buffer_to_buffer(gpu.has_run(), 0, receipt, 0, RECEIPT);
            }
        };
        let (buffers, verdict) = watched(&gpu.device, "a readback", || {
            let staging = |(label, size)| {
                gpu.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size,
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            };
            let filled = sizes.iter().map(|&size| ("deeploss.staging", size.max(4)));
            let buffers: Vec<_> = filled.chain([("deeploss.receipt", RECEIPT)]).map(staging).collect();
            // What the device has against the copies is told when they are finished: here, rather than to the caller.
            let mut trial = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            copies(&mut trial, &buffers);
            drop(trial.finish());
            buffers
        })?;
        verdicts.push(verdict);
        copies(encoder, &buffers);
        let staging = buffers.into_iter().map(|buffer| Staging::new(buffer, encoder)).collect();
        Ok(Self { gpu: gpu.clone(), staging, places, checked: status.map(|(checked, _)| checked), verdicts })
    }

    /// Resolves to the bytes of each tensor, once the caller's submit is done and somebody polls the device
    /// (a browser does so by itself). Until it is submitted, it waits.
    ///
    /// # Errors
    /// [`Error::Device`]; [`Error::NotSubmitted`] if the encoder or its commands were dropped; [`Error::Invalid`] if the kernel found
    /// invalid targets.
    pub async fn resolve(self) -> Result<Vec<Vec<u8>>, Error> {
        for verdict in &self.verdicts {
            verdict.settled().await?;
        }
        for staging in &self.staging {
            match staging.mapped.receive().await {
                Some(Ok(())) => {}
                None => return Err(Error::NotSubmitted),
                Some(Err(_)) if is_lost(&self.gpu.device).await => return Err(lost("the readback")),
                Some(Err(error)) => return Err(Error::device_caused("the readback cannot be mapped", error)),
            }
        }
        self.take()
    }

    /// Blocks until the submitted work is done; then as [`Readback::resolve`].
    ///
    /// # Errors
    /// As [`Readback::resolve`]; [`Error::NotSubmitted`] also if it is called before the submit.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(self) -> Result<Vec<Vec<u8>>, Error> {
        use std::task::{Context, Poll, Waker};

        let gpu = self.gpu.clone();
        super::faults::wait(&gpu.device)?;
        let probes: Vec<_> = self.staging.iter().map(|staging| staging.buffer.clone()).collect();
        let mut resolved = Box::pin(self.resolve());
        loop {
            if let Poll::Ready(result) = resolved.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return result;
            }
            if pollster::block_on(is_lost(&gpu.device)) {
                return Err(lost("the readback"));
            }
            if !probes.iter().all(is_submitted) {
                return Err(Error::NotSubmitted);
            }
            // Another thread polls, and is about to tell.
            std::thread::yield_now();
            super::faults::wait(&gpu.device)?;
        }
    }

    /// [`Readback::resolve`] for who has submitted: natively it waits, as nobody else may poll the device.
    pub(crate) async fn submitted(self) -> Result<Vec<Vec<u8>>, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        return self.wait();
        #[cfg(target_arch = "wasm32")]
        self.resolve().await
    }

    fn take(self) -> Result<Vec<Vec<u8>>, Error> {
        let view = |staging: &Staging| {
            staging.buffer.get_mapped_range(..).map_err(|e| Error::device_caused("the readback is not mapped", e))
        };
        let views = self.staging.iter().map(view).collect::<Result<Vec<_>, _>>()?;
        if views.last().is_none_or(|receipt| receipt[..] == NOT_RUN.to_le_bytes()) {
            return Err(Error::device("the submitted commands were refused and have not run"));
        }
        let bytes = |(number, at): &(usize, Range<usize>)| views[*number][at.clone()].to_vec();
        let mut parts: Vec<Vec<u8>> = self.places.iter().map(bytes).collect();
        drop(views);
        self.staging.iter().for_each(|staging| staging.buffer.unmap());
        if let Some(checked) = self.checked
            && let Some(status) = parts.pop()
        {
            check_status(checked, &status)?;
        }
        Ok(parts)
    }
}

impl Staging {
    /// Asks that the buffer be mapped when the encoder's commands are submitted, not before: a submit cannot use a mapped buffer.
    fn new(buffer: wgpu::Buffer, encoder: &wgpu::CommandEncoder) -> Self {
        let (sender, mapped) = oneshot_channel();
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., move |result| {
            // The receiver may be gone: nobody waits then.
            let _ = sender.send(result);
        });
        Self { buffer, mapped }
    }
}

/// Whether a staging buffer's mapping has been asked for, as it is when its commands are submitted: then it cannot be asked for again.
#[cfg(not(target_arch = "wasm32"))]
fn is_submitted(staging: &wgpu::Buffer) -> bool {
    use std::sync::atomic::{AtomicBool, Ordering};

    let refused = Arc::new(AtomicBool::new(false));
    let told = refused.clone();
    staging.map_async(wgpu::MapMode::Read, .., move |result| told.store(result.is_err(), Ordering::Release));
    let refused = refused.load(Ordering::Acquire);
    if !refused {
        staging.unmap();
    }
    refused
}

/// Bytes of a range, which may go to the buffer's end.
pub(crate) fn size_of_range(range: &wgpu::BufferBinding<'_>) -> u64 {
    range.size.map_or(range.buffer.size().saturating_sub(range.offset), wgpu::BufferSize::get)
}

/// The error that a status tells of.
///
/// # Errors
/// [`Error::Invalid`].
pub fn check_status(checked: Checked, bytes: &[u8]) -> Result<(), Error> {
    match *bytemuck::pod_collect_to_vec::<u8, u32>(bytes) {
        [count, first, value] if count > 0 => {
            let (argument, value) = match checked {
                Checked::Labels => ("target", (value as i32).to_string()),
                Checked::LabelLists => ("target", "a label that is no class".to_owned()),
                Checked::Input => ("input", f32::from_bits(value).to_string()),
                Checked::Overwritten => ("input", "overwritten by its gradient".to_owned()),
            };
            Err(Error::Invalid { argument, count, first, value })
        }
        _ => Ok(()),
    }
}
