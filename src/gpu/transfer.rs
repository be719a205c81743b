//! Host arrays to buffers and back, in pieces: what is under way costs memory besides the tensor and its buffer.

use super::Gpu;
use super::faults::checked;
use super::prepared::Prepared;
use crate::error::Error;
use crate::tensors::room_for;

/// Bytes of a piece. Smaller tensors go as a whole, and do not wait.
pub(crate) const PIECE: u64 = 16 << 20;

/// Fills a buffer from its start on.
pub(crate) struct Upload<'a> {
    gpu: &'a Gpu,
    buffer: &'a wgpu::Buffer,
    at: u64,
    /// Bytes that wgpu keeps until the next submit.
    kept: u64,
}

impl<'a> Upload<'a> {
    pub(crate) fn to(gpu: &'a Gpu, buffer: &'a wgpu::Buffer) -> Self {
        Self { gpu, buffer, at: 0, kept: 0 }
    }

    /// Bytes that lie side by side; the rest of their last word is 0.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Result<(), Error> {
        bytes.chunks(PIECE as usize).try_for_each(|piece| self.piece(piece))
    }

    /// Values that are computed, or lie apart.
    pub(crate) fn values<T: bytemuck::Pod>(mut self, values: impl Iterator<Item = T>) -> Result<(), Error> {
        let most = PIECE as usize / size_of::<T>();
        let mut values = values.peekable();
        let mut piece = Vec::new();
        while values.peek().is_some() {
            piece.clear();
            piece.extend(values.by_ref().take(most));
            self.piece(bytemuck::cast_slice(&piece))?;
        }
        Ok(())
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.kept > 0 {
            self.gpu.queue.submit([]);
            // A browser keeps nothing, and does not wait.
            #[cfg(not(target_arch = "wasm32"))]
            super::faults::wait(&self.gpu.device)?;
            self.kept = 0;
        }
        self.gpu.write(self.buffer, self.at, bytes);
        self.at += bytes.len() as u64;
        self.kept += bytes.len() as u64;
        Ok(())
    }
}

/// The first `count` elements of a buffer that nothing writes any more.
pub(crate) async fn download<X: bytemuck::Pod>(
    gpu: &Gpu,
    prepared: &Prepared,
    buffer: &wgpu::Buffer,
    count: usize,
) -> Result<Vec<X>, Error> {
    let mut values = room_for(count)?;
    let mut at = 0;
    while at < buffer.size() {
        let size = PIECE.min(buffer.size() - at);
        let range = wgpu::BufferBinding { buffer, offset: at, size: wgpu::BufferSize::new(size) };
        let readback = checked(&gpu.device, "reading a result", || {
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let readback = prepared.read(&mut encoder, &[range]);
            gpu.queue.submit([encoder.finish()]);
            readback
        })??;
        append(&mut values, readback.submitted().await?.first().map_or(&[], Vec::as_slice), count);
        at += size;
    }
    Ok(values)
}

/// Appends elements until there are `count`: the last word of 16-bit elements may be half empty.
pub(crate) fn append<X: bytemuck::Pod>(values: &mut Vec<X>, bytes: &[u8], count: usize) {
    let left = count.saturating_sub(values.len());
    match bytemuck::try_cast_slice::<u8, X>(bytes) {
        Ok(elements) => values.extend_from_slice(&elements[..left.min(elements.len())]),
        Err(_) => values.extend(bytemuck::pod_collect_to_vec::<u8, X>(bytes).into_iter().take(left)),
    }
}
