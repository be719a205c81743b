//! What WGSL does not promise, tried on a device: tiny kernels, run once, whose results are judged here. What they do not prove
//! is not relied upon.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::Gpu;
use super::faults::watched;
use super::readback::Readback;
use crate::adapter::{AdapterFacts, Proven};
use crate::error::Error;
use crate::sample::Rng;
use crate::wgsl::standalone::standalone;
use crate::wgsl::{Access, Part, link, part};

/// Largest relative error of exp2, of which good hardware instructions have 2^-22; and of exp as lib/exp/careful.wgsl computes it,
/// to 1.4e-7, and ten times worse where a compiler takes its reduction of the argument apart.
const TOLERANCE: f64 = 4e-7;
/// Records of `Operands`: 16 workgroups of 64.
const RECORDS: u32 = 1024;
/// Sizes of the workgroups in which lanes are looked at: those that kernels have.
const WORKGROUPS: [u32; 4] = [64, 128, 256, 1024];
/// Workgroups of each size.
const COPIES: u32 = 2;
/// Numbers in a workgroup of prove/widen_f16.wgsl and prove/narrow_f16.wgsl: four to each of 64 invocations.
const F16_AT_ONCE: usize = 4 * 64;
/// The bits of an infinite f16; those above it are NaN.
const F16_INF: u16 = 0x7c00;
/// Likewise of f32.
const F32_INF: u32 = 0x7f80_0000;

/// `Operands` in prove/arithmetic.wgsl.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Operands {
    exponent: [f32; 4],
    half: [f32; 4],
    a: [f32; 4],
    b: [f32; 4],
    c: [f32; 4],
    zero: [u32; 4],
}

/// `Results` there.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Results {
    power: [f32; 4],
    exponential: [f32; 4],
    fused: [f32; 4],
    fused_apart: [f32; 4],
    sum: [f32; 4],
    lost: [f32; 4],
}

/// `Widened` in prove/widen_f16.wgsl.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Widened {
    bits: [u32; 4],
    kind: [u32; 4],
}

/// `Seen` in prove/lanes.wgsl.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Seen {
    size: u32,
    lane: u32,
    /// The marks of the lanes 1, 2, 4, 8 and 16 across.
    across: [u32; 5],
    spare: u32,
}

/// Proves what can be proven of the device. On native targets it polls the device until the kernels have run.
pub(crate) async fn prove(gpu: &Arc<Gpu>) -> Result<Proven, Error> {
    let proof = Proof::new(&gpu.facts);
    let outputs = run(gpu, &proof.trials()).await?;
    proof.verdict(&outputs)
}

/// The kernels to be run on a device, and what is known of their results.
#[derive(Debug)]
pub struct Proof {
    operands: Vec<Operands>,
    halves: Vec<u16>,
    floats: Vec<u32>,
    rounded: Vec<u16>,
    /// The smallest subgroup; 0 where there are none.
    smallest: u32,
    /// Sizes of workgroups, and the marks in them.
    marks: Vec<(u32, Vec<u32>)>,
}

impl Proof {
    /// The proof for a device with these facts.
    #[must_use]
    pub fn new(facts: &AdapterFacts) -> Self {
        let mut rng = Rng::new(1);
        let operands: Vec<Operands> = (0..RECORDS).map(|_| Operands::new(&mut rng)).collect();
        let (floats, rounded) = roundings();
        let workgroups =
            WORKGROUPS.into_iter().filter(|&size| facts.subgroup.is_some() && size <= facts.max_invocations);
        let marks = workgroups.map(|size| (size, (0..COPIES * size).map(|_| rng.bits() as u32).collect())).collect();
        let smallest = facts.subgroup.map_or(0, |(smallest, _)| smallest);
        Self { operands, halves: (0..=u16::MAX).collect(), floats, rounded, smallest, marks }
    }

    /// What is to be run.
    #[must_use]
    pub fn trials(&self) -> Vec<Trial<'_>> {
        let arithmetic = Trial {
            entry: "arithmetic",
            parts: &[part!("prove/arithmetic.wgsl"), part!("lib/math.wgsl"), part!("lib/exp/careful.wgsl")],
            workgroup: None,
            input: bytemuck::cast_slice(&self.operands),
            output: size_of_val(&*self.operands),
            copies: RECORDS / 64,
        };
        let widening = Trial {
            entry: "widen_f16",
            parts: &[part!("prove/widen_f16.wgsl"), part!("io/dtype/widen_f16_proven.wgsl")],
            workgroup: None,
            input: bytemuck::cast_slice(&self.halves),
            output: self.halves.len() / 4 * size_of::<Widened>(),
            copies: (self.halves.len() / F16_AT_ONCE) as u32,
        };
        let narrowing = Trial {
            entry: "narrow_f16",
            parts: &[part!("prove/narrow_f16.wgsl"), part!("io/dtype/narrow_f16_proven.wgsl")],
            workgroup: None,
            input: bytemuck::cast_slice(&self.floats),
            output: size_of_val(&*self.rounded),
            copies: (self.floats.len() / F16_AT_ONCE) as u32,
        };
        let lanes = self.marks.iter().map(|(size, marks)| Trial {
            entry: "lanes",
            parts: &[part!("prove/lanes.wgsl")],
            workgroup: Some(*size),
            input: bytemuck::cast_slice(marks),
            output: marks.len() * size_of::<Seen>(),
            copies: COPIES,
        });
        [arithmetic, widening, narrowing].into_iter().chain(lanes).collect()
    }

    /// What the outputs of the trials prove. One that is empty, because its kernel could not run, proves nothing.
    ///
    /// # Errors
    /// [`Error::Device`] if there are fewer of them than trials.
    pub fn verdict(&self, outputs: &[Vec<u8>]) -> Result<Proven, Error> {
        let [results, widened, narrowed, seen @ ..] = outputs else {
            return Err(Error::device("the proof came back empty"));
        };
        let results: Vec<Results> = bytemuck::pod_collect_to_vec(results);
        let seen: Vec<Vec<Seen>> = seen.iter().map(|bytes| bytemuck::pod_collect_to_vec(bytes)).collect();
        let layouts = self.marks.iter().zip(&seen);
        let layouts: Vec<_> =
            layouts.map(|((workgroup, marks), seen)| Layout { workgroup: *workgroup, marks, seen }).collect();
        Ok(Proven {
            unpack_f16: widens(&bytemuck::pod_collect_to_vec(widened)),
            pack_f16: narrows(&self.rounded, &bytemuck::pod_collect_to_vec(narrowed)),
            subgroup_lanes: subgroup_lanes(self.smallest, &layouts),
            ..judge(&self.operands, &results)
        })
    }
}

// ---- Operands and verdicts ------------------------------------------------------------------------------------------

impl Operands {
    fn new(rng: &mut Rng) -> Self {
        let [mut exponent, mut half, mut a, mut b, mut c] = [[0.0; 4]; 5];
        for k in 0..4 {
            exponent[k] = some_exponent(rng);
            half[k] = 87.0 * rng.uniform() - 43.5;
            // At most 2^24 apart, so that f64 holds their sum.
            a[k] = some_number(rng, 11);
            b[k] = some_number(rng, 11);
            // What is left of a product when its rounded value is taken away tells best whether it was rounded.
            let product = a[k] * b[k];
            c[k] = if rng.below(2) == 0 { -product } else { product * some_number(rng, 3) };
        }
        Self { exponent, half, a, b, c, zero: [0; 4] }
    }
}

/// An argument of exp2: any that a softmax has, near integers, near 0, 0, and far below.
fn some_exponent(rng: &mut Rng) -> f32 {
    let power = |rng: &mut Rng, least: i32, most: i32| {
        let exponent = least + rng.below((most - least + 1) as usize) as i32;
        (1.0 + rng.uniform()) * 2.0_f32.powi(exponent)
    };
    match rng.below(8) {
        0..3 => 126.5 * rng.uniform() - 126.0,
        3 => 1.5 * rng.uniform() - 1.0,
        4 => -(rng.below(126) as f32) + (rng.uniform() - 0.5) * power(rng, -24, -1),
        5 => (rng.uniform() - 0.5) * power(rng, -120, -3),
        6 => -power(rng, 6, 100),
        _ => 0.0,
    }
}

/// Of either sign, between 2^-most and 2^(most + 1).
fn some_number(rng: &mut Rng, most: i32) -> f32 {
    let exponent = rng.below((2 * most + 1) as usize) as i32 - most;
    let sign = if rng.below(2) == 0 { 1.0 } else { -1.0 };
    sign * (1.0 + rng.uniform()) * 2.0_f32.powi(exponent)
}

/// What the results of these operands prove of arithmetic.
fn judge(operands: &[Operands], results: &[Results]) -> Proven {
    let all = |holds: &dyn Fn(&Operands, &Results, usize) -> bool| {
        operands.len() == results.len()
            && operands.iter().zip(results).all(|(given, got)| (0..4).all(|k| holds(given, got, k)))
    };
    Proven {
        exp2: all(&|given, got, k| is_power(given.exponent[k], got.power[k])),
        fma: all(&|given, got, k| {
            let exact = given.a[k].mul_add(given.b[k], given.c[k]);
            got.fused[k] == exact && got.fused_apart[k] == exact
        }),
        opaque: all(&|given, got, k| {
            let sum = f64::from(given.a[k]) + f64::from(given.b[k]);
            let exponential = (2.0 * f64::from(given.half[k])).exp();
            f64::from(got.sum[k]) + f64::from(got.lost[k]) == sum && is_near(got.exponential[k], exponential)
        }),
        ..Proven::default()
    }
}

/// Whether `got` can stand for 2 to the power of `exponent`.
fn is_power(exponent: f32, got: f32) -> bool {
    let exact = f64::from(exponent).exp2();
    let least_normal = f64::from(f32::MIN_POSITIVE) * (1.0 + TOLERANCE);
    if exponent == 0.0 {
        return got == 1.0;
    }
    // What is not normal may be flushed to 0.
    if exact <= least_normal { (0.0..=least_normal).contains(&got.into()) } else { is_near(got, exact) }
}

fn is_near(got: f32, exact: f64) -> bool {
    (f64::from(got) - exact).abs() <= TOLERANCE * exact
}

/// An f16 without its sign, as a number; where it is infinite, what would come after the largest: 65 536.
fn magnitude(half: u16) -> f32 {
    let (exponent, fraction) = (i32::from(half >> 10), f32::from(half & 0x03ff));
    // Subnormals have the exponent of the least normal numbers, and nothing before the point.
    let before = if exponent == 0 { 0.0 } else { 1024.0 };
    (before + fraction) * 2.0_f32.powi(exponent.max(1) - 25)
}

/// Whether `bits` and `kind` are what prove/widen_f16.wgsl is to make of an f16.
fn is_widened(half: u16, bits: u32, kind: u32) -> bool {
    let unsigned = half & 0x7fff;
    let sign = u32::from(half & 0x8000) << 16;
    match unsigned {
        0..F16_INF => bits == magnitude(unsigned).to_bits() | sign && kind == 0,
        F16_INF => bits == F32_INF | sign && kind == 1,
        _ => bits & !(1 << 31) > F32_INF && kind == 2,
    }
}

/// Whether all f16 were widened exactly.
fn widens(results: &[Widened]) -> bool {
    let halves = results.iter().flat_map(|got| got.bits.into_iter().zip(got.kind));
    results.len() == (1 << 16) / 4
        && (0..=u16::MAX).zip(halves).all(|(half, (bits, kind))| is_widened(half, bits, kind))
}

/// Bits of f32 where rounding to f16 may go wrong, and what they are as f16: every f16, the middle between it and the next and what is
/// beside that; and what is far below the least and far beyond the largest. In whole workgroups.
fn roundings() -> (Vec<u32>, Vec<u16>) {
    let mut found = vec![(F32_INF, F16_INF), (F32_INF | 1, F16_INF | 1), (u32::MAX >> 1, F16_INF | 1)];
    for half in 0..F16_INF {
        // Exact, with two digits more than an f16.
        let middle = (0.5 * (magnitude(half) + magnitude(half + 1))).to_bits();
        let even = half + (half & 1);
        found.extend([(magnitude(half).to_bits(), half), (middle - 1, half), (middle, even), (middle + 1, half + 1)]);
    }
    for exponent in 0..255 {
        let rounded = match exponent {
            // Below 2^-25.
            0..102 => 0,
            // Those of f16.
            102..143 => continue,
            _ => F16_INF,
        };
        found.extend([(exponent << 23, rounded), (exponent << 23 | 0x007f_ffff, rounded)]);
    }
    let negative: Vec<_> = found.iter().map(|&(bits, half)| (bits | 1 << 31, half | 1 << 15)).collect();
    found.extend(negative);
    found.resize(found.len().next_multiple_of(F16_AT_ONCE), (0, 0));
    found.into_iter().unzip()
}

/// Whether `got` is what numbers are `rounded`; any NaN will do.
fn narrows(rounded: &[u16], got: &[u16]) -> bool {
    let is_nan = |half: u16| half & 0x7fff > F16_INF;
    let same = |(&rounded, &got): (&u16, &u16)| got == rounded || is_nan(got) && is_nan(rounded);
    rounded.len() == got.len() && rounded.iter().zip(got).all(same)
}

/// What was seen in workgroups of one size.
struct Layout<'a> {
    workgroup: u32,
    marks: &'a [u32],
    seen: &'a [Seen],
}

impl Layout<'_> {
    /// Whether consecutive invocations are consecutive lanes, and groups of so many reach each other by shuffles.
    fn keeps(&self, lanes: u32) -> bool {
        self.seen.len() == self.marks.len()
            && self.seen.iter().enumerate().all(|(at, seen)| {
                let masks = (0..5).map(|k| (k, 1_u32 << k)).filter(|&(_, mask)| mask < lanes);
                let reached =
                    masks.into_iter().all(|(k, mask)| Some(&seen.across[k]) == self.marks.get(at ^ mask as usize));
                seen.size >= lanes && seen.lane == at as u32 % self.workgroup % seen.size && reached
            })
    }
}

/// The most lanes, up to 32, of which groups are kept wherever one looked, and which every subgroup has.
fn subgroup_lanes(smallest: u32, layouts: &[Layout<'_>]) -> u32 {
    let kept = |&lanes: &u32| lanes <= smallest && layouts.iter().all(|layout| layout.keeps(lanes));
    [32, 16, 8, 4, 2].into_iter().find(kept).filter(|_| !layouts.is_empty()).unwrap_or(0)
}

// ---- On the device --------------------------------------------------------------------------------------------------

/// A kernel with one buffer to read, binding 0, and one to write, binding 1.
#[derive(Debug)]
pub struct Trial<'a> {
    /// The entry point.
    pub entry: &'static str,
    parts: &'static [Part],
    /// The constant WORKGROUP, where there is one.
    pub workgroup: Option<u32>,
    /// The buffer to read.
    pub input: &'a [u8],
    /// Bytes that are written.
    pub output: usize,
    /// Workgroups.
    pub copies: u32,
}

/// What each trial writes.
async fn run(gpu: &Arc<Gpu>, trials: &[Trial<'_>]) -> Result<Vec<Vec<u8>>, Error> {
    let (readback, verdict) = watched(&gpu.device, "the kernels of the proof", || submit(gpu, trials))?;
    verdict.settled().await?;
    readback?.submitted().await
}

fn submit(gpu: &Arc<Gpu>, trials: &[Trial<'_>]) -> Result<Readback, Error> {
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let outputs: Vec<_> = trials.iter().map(|trial| trial.record(gpu, &mut encoder)).collect();
    let ranges: Vec<_> = outputs.iter().map(wgpu::Buffer::as_entire_buffer_binding).collect();
    let readback = Readback::record(gpu, &mut encoder, &ranges, None, Vec::new())?;
    gpu.queue.submit([encoder.finish()]);
    Ok(readback)
}

impl Trial<'_> {
    /// Its module for launchers that set no constants, as [`Kernel::standalone`](crate::internals::Kernel::standalone).
    #[must_use]
    pub fn standalone(&self) -> String {
        let constants: Vec<_> = self.workgroup.map(|size| ("WORKGROUP", size)).into_iter().collect();
        standalone(&link(self.parts, Access::Shared), self.entry, &constants, &[0, 1])
    }

    /// Records the dispatch; what it will write.
    fn record(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder) -> wgpu::Buffer {
        let device = &gpu.device;
        let label = format!("deeploss.prove.{}", self.entry);
        let label = Some(&*label);
        let source = wgpu::ShaderSource::Wgsl(link(self.parts, Access::ReadOnly).into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source });
        let constants: Vec<(&str, f64)> = self.workgroup.map(|size| ("WORKGROUP", size.into())).into_iter().collect();
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: None,
            module: &module,
            entry_point: Some(self.entry),
            compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
            cache: None,
        });
        let input = gpu.filled_buffer("deeploss.prove.input", self.input, wgpu::BufferUsages::STORAGE);
        let output = device.create_buffer(&wgpu::BufferDescriptor {
            label,
            size: self.output as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: input.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: output.as_entire_binding() },
            ],
        });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes: None });
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(self.copies, 1, 1);
        output
    }
}

/// That each verdict can be the other one.
#[cfg(test)]
mod tests {
    use super::*;

    fn operands() -> Vec<Operands> {
        let mut rng = Rng::new(7);
        (0..256).map(|_| Operands::new(&mut rng)).collect()
    }

    /// What a device without a fault gives.
    fn right(given: &Operands) -> Results {
        let of = |f: &dyn Fn(usize) -> f32| [f(0), f(1), f(2), f(3)];
        let fused = of(&|k| given.a[k].mul_add(given.b[k], given.c[k]));
        Results {
            power: of(&|k| f64::from(given.exponent[k]).exp2() as f32),
            exponential: of(&|k| (2.0 * f64::from(given.half[k])).exp() as f32),
            fused,
            fused_apart: fused,
            sum: of(&|k| given.a[k] + given.b[k]),
            lost: of(&|k| {
                let sum = given.a[k] + given.b[k];
                (f64::from(given.a[k]) + f64::from(given.b[k]) - f64::from(sum)) as f32
            }),
        }
    }

    /// The verdict on results that are right but for what `spoil` does to each record.
    fn verdict(spoil: impl Fn(&Operands, &mut Results)) -> Proven {
        let operands = operands();
        let spoiled = |given: &Operands| {
            let mut results = right(given);
            spoil(given, &mut results);
            results
        };
        let results: Vec<_> = operands.iter().map(spoiled).collect();
        judge(&operands, &results)
    }

    const ALL: Proven =
        Proven { exp2: true, fma: true, opaque: true, unpack_f16: false, pack_f16: false, subgroup_lanes: 0 };

    #[test]
    fn right_results_prove_all_and_missing_ones_nothing() {
        assert_eq!(verdict(|_, _| {}), ALL);
        assert_eq!(judge(&operands(), &[]), Proven::default());
        assert_eq!(verdict(|_, results| *results = Results::zeroed()), Proven::default());
        assert_eq!(verdict(|_, results| *results = bytemuck::cast([f32::NAN; 24])), Proven::default());
    }

    #[test]
    fn an_exp2_that_is_off_is_refused() {
        let scaled = |factor: f32| verdict(|_, results| results.power = results.power.map(|power| power * factor));
        assert_eq!(scaled(1.0 + 1e-6), Proven { exp2: false, ..ALL });
        assert_eq!(scaled(1.0 - 1e-6), Proven { exp2: false, ..ALL });
        // 2 ULP, but of 2^0, which is exact.
        let near = |power: f32| if power == 1.0 { power } else { power * (1.0 + 2.4e-7) };
        assert_eq!(verdict(|_, results| results.power = results.power.map(near)), ALL);
        let flushed = |power: f32| if power < f32::MIN_POSITIVE { 0.0 } else { power };
        assert_eq!(verdict(|_, results| results.power = results.power.map(flushed)), ALL);
        for (exponent, got) in
            [(-1.8e30, -1e-40), (-1.8e30, f32::NAN), (-300.0, f32::INFINITY), (-2.0, 0.0), (0.0, 1.0 + f32::EPSILON)]
        {
            assert!(!is_power(exponent, got), "2^{exponent} is not {got}");
        }
    }

    #[test]
    fn an_fma_that_rounds_twice_is_refused() {
        let twice = |given: &Operands, k: usize| given.a[k] * given.b[k] + given.c[k];
        assert_eq!(verdict(|given, results| results.fused[3] = twice(given, 3)), Proven { fma: false, ..ALL });
        assert_eq!(verdict(|given, results| results.fused_apart[0] = twice(given, 0)), Proven { fma: false, ..ALL });
    }

    #[test]
    fn a_two_sum_that_is_folded_is_refused() {
        assert_eq!(verdict(|_, results| results.lost = [0.0; 4]), Proven { opaque: false, ..ALL });
        // ln 2 rounded once, in place of its two parts.
        let folded = |given: &Operands, results: &mut Results| {
            let k = (given.half[1] * std::f32::consts::LOG2_E * 2.0).round();
            let rest = given.half[1] - k * (0.5 * std::f32::consts::LN_2);
            results.exponential[1] = ((2.0 * f64::from(rest)).exp() * f64::from(k).exp2()) as f32;
        };
        assert_eq!(verdict(folded), Proven { opaque: false, ..ALL });
    }

    /// The verdict on widening that is right but for what `spoil` does to the f32 that each f16 gives.
    fn widening(spoil: impl Fn(f32) -> f32) -> bool {
        let widened = |half: u16| {
            let exact = f32::from_bits(match half & 0x7fff {
                unsigned @ 0..F16_INF => magnitude(unsigned).to_bits(),
                unsigned => F32_INF | u32::from(unsigned & 0x03ff) << 13,
            });
            let got = spoil(exact.copysign(if half >> 15 == 0 { 1.0 } else { -1.0 }));
            (got.to_bits(), u32::from(!got.is_finite()) + u32::from(got.is_nan()))
        };
        let four = |at: u16| {
            let of = [0, 1, 2, 3].map(|k| widened(4 * at + k));
            Widened { bits: of.map(|(bits, _)| bits), kind: of.map(|(_, kind)| kind) }
        };
        widens(&(0..1 << 14).map(four).collect::<Vec<_>>())
    }

    #[test]
    fn halves_that_are_not_widened_exactly_are_refused() {
        assert!(widening(|got| got));
        assert!(!widens(&[]));
        type Fault = (&'static str, fn(f32) -> f32);
        let faults: [Fault; 6] = [
            ("subnormals are flushed", |got| if got.abs() < 2.0_f32.powi(-14) { 0.0 * got } else { got }),
            ("zeros lose their sign", |got| got + 0.0),
            ("a digit is lost", |got| f32::from_bits(got.to_bits() & !(1 << 13))),
            ("infinity is a number", |got| if got.is_infinite() { 65_536.0_f32.copysign(got) } else { got }),
            ("NaN is infinite", |got| if got.is_nan() { f32::INFINITY } else { got }),
            ("NaN is 0", |got| if got.is_nan() { 0.0 } else { got }),
        ];
        for (what, spoil) in faults {
            assert!(!widening(spoil), "{what}");
        }
        // The bits are right, but a compiler takes NaN for impossible.
        let unseen = |half: u16| is_widened(half, F32_INF | u32::from(half & 0x03ff) << 13, 0);
        assert!(!unseen(F16_INF) && !unseen(F16_INF | 1));
    }

    #[test]
    fn halves_that_are_not_rounded_to_nearest_are_refused() {
        let (floats, rounded) = roundings();
        let unsigned = |half: u16| half & 0x7fff;
        let verdict = |spoil: &dyn Fn(u32, u16) -> u16| {
            let got: Vec<_> = floats.iter().zip(&rounded).map(|(&bits, &half)| spoil(bits, half)).collect();
            narrows(&rounded, &got)
        };
        assert!(verdict(&|_, half| half));
        assert!(verdict(&|_, half| if unsigned(half) > F16_INF { 0x7e00 } else { half }), "any NaN will do");
        assert!(!narrows(&rounded, &[]));
        // The neighbour of f16 towards 0 where that is where the number lies.
        let exceeds = |bits: u32, half: u16| magnitude(unsigned(half)) > f32::from_bits(bits).abs();
        let truncated = |bits, half| if unsigned(half) <= F16_INF && exceeds(bits, half) { half - 1 } else { half };
        assert!(!verdict(&truncated));
        // Ties away from 0.
        let is_tie = |bits: u32, half: u16| {
            let value = f32::from_bits(bits).abs();
            unsigned(half) < F16_INF && 0.5 * (magnitude(unsigned(half)) + magnitude(unsigned(half) + 1)) == value
        };
        assert!(!verdict(&|bits, half| if is_tie(bits, half) { half + 1 } else { half }));
        let subnormal = |half: u16| (1..0x0400).contains(&unsigned(half));
        assert!(!verdict(&|_, half| if subnormal(half) { half & 0x8000 } else { half }));
        // Numbers beyond the largest become that, or wrap around.
        let beyond = |bits: u32, half: u16| unsigned(half) == F16_INF && f32::from_bits(bits).is_finite();
        assert!(!verdict(&|bits, half| if beyond(bits, half) { half - 1 } else { half }));
        assert!(!verdict(&|bits, half| if beyond(bits, half) { half & 0x8000 } else { half }));
        assert!(!verdict(&|_, half| if unsigned(half) > F16_INF { F16_INF } else { half }));
        assert!(!verdict(&|_, half| if unsigned(half) == 0 { 0 } else { half }), "zeros lose their sign");
    }

    /// By another implementation.
    #[test]
    #[cfg(feature = "host")]
    fn what_is_expected_of_halves_is_right() {
        for half in 0..F16_INF {
            assert_eq!(magnitude(half), half::f16::from_bits(half).to_f32());
        }
        let (floats, rounded) = roundings();
        let exact: Vec<_> = floats.iter().map(|&bits| half::f16::from_f32(f32::from_bits(bits)).to_bits()).collect();
        assert!(narrows(&rounded, &exact));
    }

    /// What is seen in workgroups of 64 whose invocations `order` puts into subgroups of this size.
    fn lanes(reported: u32, size: u32, order: impl Fn(u32) -> u32) -> u32 {
        let marks: Vec<u32> = (0..128).map(|k| k * 7919 + 13).collect();
        let place: Vec<u32> = (0..128).map(|at| at / 64 * 64 + order(at % 64)).collect();
        let mark_at = |wanted: u32| {
            let at = place.iter().position(|&place| place == wanted);
            at.map_or(0, |at| marks[at])
        };
        let seen = |&place: &u32| Seen {
            size,
            lane: place % 64 % size,
            across: [1, 2, 4, 8, 16].map(|mask| if mask < size { mark_at(place ^ mask) } else { 0 }),
            spare: 0,
        };
        let seen: Vec<Seen> = place.iter().map(seen).collect();
        subgroup_lanes(reported, &[Layout { workgroup: 64, marks: &marks, seen: &seen }])
    }

    #[test]
    fn lanes_are_as_many_as_were_reported_and_seen() {
        let straight = |at| at;
        for (reported, size, proven) in [(8, 8, 8), (32, 64, 32), (64, 64, 32), (4, 32, 4), (32, 16, 16), (1, 8, 0)] {
            assert_eq!(lanes(reported, size, straight), proven, "{reported} reported, {size} seen");
        }
        assert_eq!(subgroup_lanes(32, &[]), 0);
        let nothing = [Seen::zeroed(); 64];
        assert_eq!(subgroup_lanes(32, &[Layout { workgroup: 64, marks: &[0; 64], seen: &nothing }]), 0);
    }

    #[test]
    fn lanes_in_another_order_are_refused() {
        assert_eq!(lanes(32, 32, |at| at ^ 1), 0);
        assert_eq!(lanes(32, 32, |at| at % 8 * 8 + at / 8), 0);
        // The order holds, a shuffle does not.
        let marks: Vec<u32> = (0..64).collect();
        let seen: Vec<Seen> = (0..64)
            .map(|at| Seen { size: 32, lane: at % 32, across: [at ^ 1, at ^ 2, at ^ 4, at, at ^ 16], spare: 0 })
            .collect();
        assert_eq!(subgroup_lanes(32, &[Layout { workgroup: 64, marks: &marks, seen: &seen }]), 8);
    }
}
