//! The tensors of one loss on the GPU, where a caller would have them.

use deeploss::internals::{OwnedTensors, TensorId};
use deeploss::{Buffers, Loss, Plan, Target};

use crate::storage::Storage;
use crate::timing::Bench;

/// Bytes that a copy kernel moves at a time: every buffer is a multiple of it.
pub(crate) const VECTOR: u64 = 16;

pub(crate) struct Resident {
    buffers: Vec<(TensorId, u64, wgpu::Buffer)>,
}

impl Resident {
    /// Inputs with the host's values, over and over where the plan asks for more of them; outputs empty. A loss with more tensors
    /// needs a line here.
    pub(crate) fn upload(bench: &Bench, loss: &dyn Loss, host: &OwnedTensors, plan: &Plan, storage: Storage) -> Self {
        let host = host.view();
        // An ignored index may exceed the 32 bits of a label; then the lowest one stands for it.
        let label = |v: i64| if loss.ignores(v) { i32::try_from(v).unwrap_or(i32::MIN) } else { v as i32 };
        let contents = |tensor| {
            let floats = |values: &ndarray::ArrayViewD<'_, f32>| storage.of(tensor).encode(values);
            match (tensor, &host.target) {
                (TensorId::Input, _) => Some(floats(&host.input)),
                (TensorId::Input2, _) => host.input2.as_ref().map(floats),
                (TensorId::Target, Target::Values(values)) => Some(floats(values)),
                (TensorId::Target, Target::Indices(labels)) => {
                    Some(labels.iter().flat_map(|&v| label(v).to_ne_bytes()).collect())
                }
                (TensorId::IgnoreMask, _) => {
                    let mask = host.ignore_mask.as_ref();
                    mask.map(|mask| mask.iter().flat_map(|&ignored| u32::from(ignored).to_ne_bytes()).collect())
                }
                _ => tensor.is_output().then(Vec::new),
            }
        };
        // Weights that are options of the loss are its own affair; of anything else that is left out, `bind` complains.
        let buffers = plan.sizes().iter().filter_map(|&(tensor, size)| {
            let bytes = contents(tensor)?;
            let buffer = bench.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(tensor.name()),
                size: size.next_multiple_of(VECTOR),
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: !bytes.is_empty(),
            });
            if !bytes.is_empty() {
                fill(&buffer, &bytes);
            }
            Some((tensor, size, buffer))
        });
        Self { buffers: buffers.collect() }
    }

    /// With the padding.
    pub(crate) fn get(&self, tensor: TensorId) -> Option<&wgpu::Buffer> {
        self.buffers.iter().find(|(t, _, _)| *t == tensor).map(|(_, _, buffer)| buffer)
    }

    /// Without the padding.
    pub(crate) fn range(&self, tensor: TensorId) -> Option<wgpu::BufferBinding<'_>> {
        let (_, size, buffer) = self.buffers.iter().find(|(t, _, _)| *t == tensor)?;
        Some(wgpu::BufferBinding { buffer, offset: 0, size: wgpu::BufferSize::new(*size) })
    }

    /// Those that a call of this plan takes.
    pub(crate) fn buffers(&self, plan: &Plan) -> Buffers<'_> {
        let takes = |tensor| plan.sizes().iter().any(|&(taken, _)| taken == tensor);
        Buffers::from_fn(|tensor| self.range(tensor).filter(|_| takes(tensor)))
    }
}

/// A mapped buffer with these bytes over and over.
fn fill(buffer: &wgpu::Buffer, bytes: &[u8]) {
    if let Ok(mut view) = buffer.slice(..).get_mapped_range_mut() {
        let size = view.len();
        for start in (0..size).step_by(bytes.len()) {
            let part = bytes.len().min(size - start);
            view.slice(start..start + part).copy_from_slice(&bytes[..part]);
        }
    }
    buffer.unmap();
}
