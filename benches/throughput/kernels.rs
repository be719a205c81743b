//! Hand-written kernels that the crate is compared with: copies, the peer-shaped cross-entropy, the one written for speed alone.

use std::ops::Range;

use deeploss::internals::TensorId;

use crate::inputs::{Expected, Inputs};
use crate::outcome::Outcome;
use crate::resident::{Resident, VECTOR};
use crate::storage::Storage;
use crate::timing::Bench;

const COPY_WGSL: &str = include_str!("copy.wgsl");
const PEER_WGSL: &str = include_str!("peer.wgsl");
/// By words of 32 bits, and of 64.
const FAST_WGSL: [&str; 2] = [
    concat!(include_str!("fast.wgsl"), include_str!("../../shaders/io/words/32.wgsl")),
    concat!(include_str!("fast.wgsl"), include_str!("../../shaders/io/words/64.wgsl")),
];

/// Workgroups that WebGPU allows in one dimension.
const MAX_GROUPS: u64 = 65_535;

/// One dispatch.
pub(crate) struct Step {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    grid: [u32; 2],
}

impl Step {
    fn new(
        bench: &Bench,
        [source, entry]: [&'static str; 2],
        constants: &[(&str, f64)],
        bindings: &[(u32, &wgpu::Buffer)],
        groups: u64,
    ) -> Self {
        let label = Some(entry);
        let module = bench.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let pipeline = bench.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: None,
            module: &module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions { constants, ..Default::default() },
            cache: None,
        });
        let entries: Vec<_> = bindings
            .iter()
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding: *binding, resource: buffer.as_entire_binding() })
            .collect();
        let group = bench.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        Self { pipeline, group, grid: grid(groups) }
    }

    pub(crate) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}

/// A pass of its own.
pub(crate) fn pass(encoder: &mut wgpu::CommandEncoder, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) {
    record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
}

/// This number of workgroups, or a few more.
fn grid(groups: u64) -> [u32; 2] {
    let lines = groups.div_ceil(MAX_GROUPS);
    [groups.div_ceil(lines) as u32, lines as u32]
}

pub(crate) fn storage_buffer(bench: &Bench, label: &str, size: u64) -> wgpu::Buffer {
    bench.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// One way to go over the vectors of a buffer: to copy it, or to read it alone.
pub(crate) struct Copy {
    pub(crate) name: &'static str,
    entry: &'static str,
    groups: u64,
    lanes: u64,
    span: u64,
}

impl Copy {
    /// Those that may be the fastest. Small workgroups with a chunk each are slow on GPUs; on CPU adapters they are best but
    /// for small buffers.
    pub(crate) fn all(bytes: u64, on_cpu: bool) -> Vec<Self> {
        let vectors = bytes / VECTOR;
        let mut copies = vec![Self::each("each_of_256", "each", vectors)];
        if on_cpu {
            let lanes = 8;
            // lavapipe silently ends an invocation after 65 535 iterations.
            let groups = vectors.div_ceil(lanes * 60_000).max(2048).min(vectors.div_ceil(lanes));
            copies.push(Self { name: "chunks_of_8", entry: "chunks", groups, lanes, span: vectors.div_ceil(groups) });
        }
        copies
    }

    /// Not a copy, but half of it.
    pub(crate) fn reading(bytes: u64) -> Self {
        Self::each("each_of_256", "reading", bytes / VECTOR)
    }

    fn each(name: &'static str, entry: &'static str, vectors: u64) -> Self {
        let lanes = 256;
        Self { name, entry, groups: vectors.div_ceil(lanes), lanes, span: lanes }
    }

    pub(crate) fn bind(&self, bench: &Bench, source: &wgpu::Buffer, destination: &wgpu::Buffer) -> Step {
        let grid_x = u64::from(grid(self.groups)[0]);
        let constants = [("LANES", self.lanes), ("GRID_X", grid_x), ("SPAN", self.span)];
        let constants = constants.map(|(name, value)| (name, value as f64));
        Step::new(bench, [COPY_WGSL, self.entry], &constants, &[(0, source), (1, destination)], self.groups)
    }
}

/// These ranges of the destination end up with the bytes of the source.
pub(crate) fn check_copy(
    bench: &Bench,
    copy: &Step,
    [source, destination]: [&wgpu::Buffer; 2],
    ranges: &[Range<u64>],
) -> Outcome<()> {
    let expected = bench.read(source, ranges, |_| {})?;
    let copied = bench.read(destination, ranges, |encoder| {
        encoder.clear_buffer(destination, 0, None);
        pass(encoder, |pass| copy.record(pass));
    })?;
    if copied == expected { Ok(()) } else { Err("the copy differs".into()) }
}

/// A hand-written cross-entropy with its mean: class indices, nothing ignored, f32.
pub(crate) struct HandWritten {
    steps: Vec<Step>,
    total: wgpu::Buffer,
    rows: usize,
    wants_grad: bool,
    pub(crate) scratch_bytes: u64,
}

/// Rows and bytes of logits that the peer-shaped kernel runs on at most: enough to fill any adapter, and it is slow on some.
const PEER_MAX_ROWS: usize = 2048;
const PEER_MAX_BYTES: usize = 4 << 20;
/// Terms that one workgroup of fast.wgsl adds up.
const FAST_CHUNK: usize = 4096;

impl HandWritten {
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// How many of N rows the peer-shaped kernel runs on.
    pub(crate) fn peer_rows([n, c]: [usize; 2]) -> usize {
        n.min(PEER_MAX_ROWS).min((PEER_MAX_BYTES / (4 * c)).max(1))
    }

    /// Loss and gradient of the first rows.
    pub(crate) fn peer(bench: &Bench, resident: &Resident, rows: usize, classes: usize) -> Option<Self> {
        let (logits, labels) = (resident.get(TensorId::Input)?, resident.get(TensorId::Target)?);
        let gradient = resident.get(TensorId::GradInput)?;
        let losses = storage_buffer(bench, "losses", 4 * rows as u64);
        let total = storage_buffer(bench, "total", 4);
        let constants = [("ROWS", rows as f64), ("CLASSES", classes as f64), ("SCALE", 1.0 / rows as f64)];
        let bindings = [(0, logits), (1, labels), (2, &losses), (3, gradient)];
        let steps = vec![
            Step::new(bench, [PEER_WGSL, "rows"], &constants, &bindings, rows as u64),
            Step::new(bench, [PEER_WGSL, "mean"], &constants, &[(4, &losses), (5, &total)], 1),
        ];
        Some(Self { steps, total, rows, wants_grad: true, scratch_bytes: losses.size() })
    }

    /// `None` where it does not serve: it needs a single subgroup size and a multiple of eight classes.
    pub(crate) fn fast(bench: &Bench, resident: &Resident, [n, c]: [usize; 2], wants_grad: bool) -> Option<Self> {
        let facts = bench.ctx.facts()?;
        let lanes = facts.subgroup.filter(|(min, max)| min == max).map(|(size, _)| size)?;
        if !c.is_multiple_of(8) {
            return None;
        }
        let source = FAST_WGSL[usize::from(facts.wide_words())];
        let (logits, labels) = (resident.get(TensorId::Input)?, resident.get(TensorId::Target)?);
        let gradient = resident.get(TensorId::GradInput)?;
        let chunks = n.div_ceil(FAST_CHUNK);
        let losses = storage_buffer(bench, "losses", 4 * n as u64);
        let partial = storage_buffer(bench, "partial", 4 * chunks as u64);
        let total = storage_buffer(bench, "total", 4);
        let constants = |terms: usize, chunk: usize, scale: f64| {
            [
                ("LANES", f64::from(lanes)),
                ("ROWS", terms as f64),
                ("EIGHTS", (c / 8) as f64),
                ("CHUNK", chunk as f64),
                ("SCALE", scale),
                ("GRID_X", f64::from(grid(n as u64)[0])),
                ("WANT_GRAD", f64::from(u8::from(wants_grad))),
            ]
        };
        let mean = 1.0 / n as f64;
        let step = |entry, constants: &[(&str, f64)], bindings: &[(u32, &wgpu::Buffer)], groups| {
            Step::new(bench, [source, entry], constants, bindings, groups)
        };
        let bindings = [(0, logits), (1, labels), (2, &losses), (3, gradient)];
        let mut steps = vec![step("rows", &constants(n, 0, mean), &bindings, n as u64)];
        if chunks > 1 {
            let bindings = [(4, &losses), (5, &partial)];
            steps.push(step("sum", &constants(n, FAST_CHUNK, 1.0), &bindings, chunks as u64));
            steps.push(step("sum", &constants(chunks, chunks, mean), &[(4, &partial), (5, &total)], 1));
        } else {
            steps.push(step("sum", &constants(n, n, mean), &[(4, &losses), (5, &total)], 1));
        }
        Some(Self { steps, total, rows: n, wants_grad, scratch_bytes: losses.size() + partial.size() })
    }

    pub(crate) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.steps.iter().for_each(|step| step.record(pass));
    }

    /// The results agree with a reference over the same rows, within ten times what is asked of the crate.
    pub(crate) fn check(
        &self,
        bench: &Bench,
        resident: &Resident,
        inputs: &Inputs,
        expected: &Expected,
    ) -> Outcome<()> {
        let gradient = resident.get(TensorId::GradInput).ok_or("no gradient")?;
        let tolerance = |largest| 10.0 * Storage::F32.tolerance(largest);
        let whole = 0..self.total.size();
        let total = bench.read(&self.total, std::slice::from_ref(&whole), |encoder| {
            encoder.clear_buffer(&self.total, 0, None);
            encoder.clear_buffer(gradient, 0, None);
            pass(encoder, |pass| self.record(pass));
        })?;
        expected.check_loss(&Storage::F32.decode(&total.concat()), tolerance)?;
        if self.wants_grad {
            let compared = inputs.compared();
            let ranges: Vec<_> = compared.iter().map(|rows| inputs.bytes(rows, Storage::F32)).collect();
            for (rows, bytes) in compared.iter().zip(bench.read(gradient, &ranges, |_| {})?) {
                expected.check_gradient(rows, &Storage::F32.decode(&bytes), tolerance)?;
            }
        }
        Ok(())
    }
}
