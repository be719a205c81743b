//! The command line.

use std::path::PathBuf;

use deeploss::{LOSSES, LossInfo, RowStrategy};

use crate::choice::{Way, strategy};
use crate::clock::MAX_SPANS;
use crate::report::Layout;
use crate::storage::Storage;

pub(crate) const HELP: &str = "\
Time of every loss and its gradient, beside copy kernels over the same logits.

usage: cargo bench --bench throughput -- [what] [options]

What to measure
  (nothing)         every loss, then the fixed costs
  --goals           what this crate promises of its speed, each as a ratio, met or not
  --sweep c         cross-entropy over C = 2 .. 262144, with as many rows as --mib holds
  --sweep n         cross-entropy over N = 1 .. 131072, with --classes classes
  --overhead        the fixed costs alone: an empty submit, dispatches, recording, preparing

Options
  --profile         also the time of each dispatch of every call, by timestamps
  --device cpu      the CPU path on host arrays instead, beside a copy by all threads: cross-entropy and
                    binary_cross_entropy_with_logits, or the losses of --only
  --only OP,OP      these losses only, by their names in the table of losses
  --shapes NxC,..   these inputs only. By default on a GPU, C = 10, 128, 1000, 1003, 4096, 32000, 50257, 131072 with as
                    many rows as --mib holds, in 16-bit storage alone C = 128, 1000, 4096, 32000; on a CPU adapter
                    8192x10,4096x1000,1024x32000,256x128256, or of every loss 8192x10,4096x1000,256x32000,64x128256
  --dtype T,T       storage of the input and its gradient: f32 (default), f16, bf16
  --strategy S,S    how rows are mapped to invocations: plan (default), or a strategy as a plan prints it
  --mib M           MiB of logits (default 256 on GPUs; on CPU adapters 16 of --sweep c, 64 of --goals)
  --classes C       classes of --sweep n (default 128)
  --repeat N        rounds at least (default 7); more are made while they take little time
  --calls N         calls in one submit (default 1 on CPU adapters, else 10)
  --csv FILE        also write the measurements there
  --svg FILE        also draw a sweep's ratios there
  --table           one table of all rows, at the end
  --markdown        the same as Markdown
  --help            this text

What is timed: one call is prepared and bound once, and a sample is a submit of some calls in one compute pass, divided by
their number: the time between two timestamps of the device at both ends of the pass where it has them. ms wall is the time
of making an encoder, recording, submitting and waiting, and without timestamps the other times are too. A round takes one
sample of each subject in turn; medians and minima are over the rounds. A round in which the best copy is off its median so
far by more than 5 % (30 % on CPU adapters) is spoiled, by another clock of the device or by a neighbour: it is thrown away
and repeated, as long as there are not too many. Every result is checked before anything is timed. Of more than 4 Mi logits
the first rows are random and the others repeat them, and the first, the last and some rows between are checked.

Modes: loss, grad, both (one fused call). The loss is the first variant of its row in the table, mean over the batch, and no
row is ignored. The goals have the mode kernel: of the fused call, what computes the loss, without counting and summing.

GB/s counts the bytes that must move, which is every tensor of the call once. With b bytes of logits and class indices as
targets that is b (loss) or 2 b (grad, both); a target or second input of the logits' shape adds b. nll_loss reads one sector
of 32 bytes a row for its loss and none for its gradient; of lists of labels one sector a row counts. A copy moves 2 b.

x copy is the median over the best median of the copies that were timed in turn with it, which read the loss' own input and
write over its gradient, in the same storage. ms floor is what that copy would take to move the call's bytes, and x floor the
median over it.

read reads the logits alone, by the kernel of the copy.
peer is cross-entropy as other frameworks shape it: 256 threads per row, a tree in workgroup memory, three passes. It is slow on
CPU adapters, so it runs on at most 2048 rows and 4 MiB of logits, and its time is scaled up to all rows.
fast is cross-entropy without this crate's guarantees: no search for NaN, no compensated sums, no fixed order.

The profile times each dispatch in a pass of its own, with the others of its call around it. Together they may take more than
the call, where neighbours overlap.

The goals on a GPU come with what was predicted, and with what torch.compile and Liger take.

MiB are the caller's tensors, scratch KiB what the call owns besides: together the peak of GPU memory, as a call allocates
nothing when it runs.

CSV: library,op,mode,N,C,ms_median,ms_min,GB/s,ratio_to_copy,dtype,strategy,rounds,tensor_bytes,scratch_bytes,allocated_bytes,
ms_wall,ms_floor,ratio_to_floor,workgroups,spoiled_rounds.
The library is deeploss, dispatch, copy, read, peer, fast, memcpy or wgpu; in a row of a copy, op is the loss that it was timed
with, and mode the copy kernel; in a row of a dispatch, strategy is its label. allocated_bytes is what the device's allocator
says of the call with all outputs, where it does. Fixed costs have N = C = 0, and their ratio is to an empty submit.

exit status: 0; 1 if there is no adapter or a result is wrong; 2 if the arguments are
";

const REPEAT: usize = 7;

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Losses,
    Goals,
    SweepClasses,
    SweepRows,
    Overhead,
}

pub(crate) struct Args {
    pub(crate) what: What,
    pub(crate) on_cpu: bool,
    /// Empty: all, or those that the measurement is about.
    pub(crate) losses: Vec<&'static LossInfo>,
    /// Empty: the default ones.
    pub(crate) shapes: Vec<[usize; 2]>,
    pub(crate) storages: Vec<Storage>,
    /// `None`: as the plan has it.
    pub(crate) strategies: Vec<Option<RowStrategy>>,
    pub(crate) profile: bool,
    pub(crate) mib: Option<usize>,
    pub(crate) classes: usize,
    pub(crate) repeat: usize,
    pub(crate) calls: Option<u32>,
    pub(crate) csv: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) layout: Layout,
}

impl Args {
    /// `None`: the help text is asked for.
    pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut args = Self {
            what: What::Losses,
            on_cpu: false,
            losses: Vec::new(),
            shapes: Vec::new(),
            storages: vec![Storage::F32],
            strategies: vec![None],
            profile: false,
            mib: None,
            classes: 128,
            repeat: REPEAT,
            calls: None,
            csv: None,
            svg: None,
            layout: Layout::Blocks,
        };
        while let Some(name) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("`{name}` needs a value"));
            match name.as_str() {
                // Cargo passes it to every bench.
                "--bench" => {}
                "--help" | "-h" => return Ok(None),
                "--goals" => args.what = What::Goals,
                "--overhead" => args.what = What::Overhead,
                "--sweep" => args.what = sweep(&value()?)?,
                "--device" => args.on_cpu = is_cpu(&value()?)?,
                "--only" => args.losses = list(&value()?, loss_named)?,
                "--shapes" => args.shapes = list(&value()?, shape)?,
                "--dtype" => args.storages = list(&value()?, Storage::named)?,
                "--strategy" => args.strategies = list(&value()?, strategy)?,
                "--profile" => args.profile = true,
                "--mib" => args.mib = Some(positive(&name, &value()?)?),
                "--classes" => args.classes = positive(&name, &value()?)?,
                "--repeat" => args.repeat = positive(&name, &value()?)?,
                "--calls" => args.calls = Some(positive(&name, &value()?)?),
                "--csv" => args.csv = Some(value()?.into()),
                "--svg" => args.svg = Some(value()?.into()),
                "--table" => args.layout = Layout::Table,
                "--markdown" => args.layout = Layout::Markdown,
                _ => return Err(format!("unknown argument `{name}`")),
            }
        }
        if args.calls.is_some_and(|calls| calls > MAX_SPANS) {
            return Err(format!("`--calls` is at most {MAX_SPANS}: so many fit the timestamps of one submit"));
        }
        if args.profile && (args.what != What::Losses || args.on_cpu) {
            return Err("`--profile` goes with losses on an adapter: goals, sweeps and fixed costs have none".into());
        }
        if args.svg.is_some() && !matches!(args.what, What::SweepClasses | What::SweepRows) {
            return Err("`--svg` draws a sweep: give `--sweep c` or `--sweep n`".into());
        }
        if args.on_cpu && args.what != What::Losses {
            return Err("`--device cpu` measures losses: goals, sweeps and fixed costs are of an adapter".into());
        }
        Ok(Some(args))
    }

    /// The shapes of `--shapes`, else these.
    pub(crate) fn shapes_or<'a>(&'a self, otherwise: &'a [[usize; 2]]) -> &'a [[usize; 2]] {
        if self.shapes.is_empty() { otherwise } else { &self.shapes }
    }

    /// Every storage in every strategy.
    pub(crate) fn ways(&self) -> Vec<Way> {
        self.storages
            .iter()
            .flat_map(|&storage| self.strategies.iter().map(move |&strategy| (storage, strategy)))
            .collect()
    }

    /// The losses of `--only`, else these.
    pub(crate) fn losses_or(&self, otherwise: &[&str]) -> Vec<&'static LossInfo> {
        let wanted = |info: &&LossInfo| otherwise.is_empty() || otherwise.contains(&info.name);
        if self.losses.is_empty() { LOSSES.iter().filter(wanted).collect() } else { self.losses.clone() }
    }
}

fn list<T>(text: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(item).collect()
}

fn sweep(axis: &str) -> Result<What, String> {
    match axis {
        "c" => Ok(What::SweepClasses),
        "n" => Ok(What::SweepRows),
        _ => Err(format!("`--sweep` takes c or n, got `{axis}`")),
    }
}

fn is_cpu(device: &str) -> Result<bool, String> {
    match device {
        "cpu" => Ok(true),
        "gpu" => Ok(false),
        _ => Err(format!("`--device` takes gpu or cpu, got `{device}`")),
    }
}

fn loss_named(name: &str) -> Result<&'static LossInfo, String> {
    LOSSES.iter().find(|info| info.name == name).ok_or_else(|| {
        let names: Vec<_> = LOSSES.iter().map(|info| info.name).collect();
        format!("no loss is named `{name}`; there are {}", names.join(", "))
    })
}

fn shape(text: &str) -> Result<[usize; 2], String> {
    let sides = text.split_once('x').and_then(|(n, c)| Some([n.parse().ok()?, c.parse().ok()?]));
    let sides = sides.filter(|sides: &[usize; 2]| sides.iter().all(|&side| side > 0));
    sides.ok_or_else(|| format!("a shape is NxC, as in 4096x1000, got `{text}`"))
}

fn positive<T: std::str::FromStr + PartialOrd + Default>(name: &str, text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|n| *n > T::default());
    number.ok_or_else(|| format!("`{name}` takes a positive number, got `{text}`"))
}
