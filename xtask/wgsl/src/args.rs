//! The command line.

use std::path::PathBuf;

use deeploss::{Dtype, LOSSES, LossInfo, Problem, Reduction, RowStrategy, Want};
use deeploss_wgsl::calls::{DTYPES, REDUCTIONS, WANTS, loss_named, named};
use deeploss_wgsl::devices::{DEVICES, Device};

pub(crate) const USAGE: &str = "\
The WGSL modules that a call runs as, linked from the files in shaders/.

usage: cargo xtask wgsl LOSS SHAPE [options]   print each dispatch of one call: its module, headed by what it is given
       cargo xtask wgsl --all DIR [--only LOSS,..] [--web]
                                               write every module of every plan into DIR, and manifest.json
       cargo xtask wgsl --list                 the losses with their variants, and the devices

  LOSS            by its name in the table of losses, for example cross_entropy
  SHAPE           of the input: 4096x1000, or 8x21x64x64 with the classes on axis 1

  --variant K     options of the loss, by their number in --list (default 0)
  --reduction R   mean (default), sum, none, batchmean
  --want W        outputs, joined by +: loss, grad, grad_input2, grad_target, stats (default loss+grad)
  --with T        further tensors that are given, joined by +: grad_output, sample_weight, ignore_mask
  --dtype T[,T]   storage of the input and its gradient (default the same): f32 (default), f16, bf16
  --strategy S    thread, tile:ROWS, staged, lanes:LANESxHELD, split:LANESxPARTS (default the plan's)
  --facts NAME    the device that is planned for, by its name in --list (default webgpu)
  --only LOSS,..  with --all, the plans of these losses
  --dispatch K    this dispatch alone, from 1: a file that a compiler takes as it is
  --web           `enable subgroups;` at the head where a browser asks for it; with --all, only what a browser can run

--all takes a minute and fills half a gigabyte: losses, their variants, shapes, reductions, outputs, further tensors, storage types,
strategies and devices, in every combination that a plan can have. manifest.json has, for each module, its file, the files that it is linked from and its kernels: entry point, values of
`override` constants, bytes of the uniform buffer (binding 0), storage bindings, and one call that runs each.
";

/// What is asked for.
pub(crate) enum Args {
    Help,
    List,
    Call { call: Call, dispatch: Option<usize>, web: bool },
    All { folder: PathBuf, losses: Vec<&'static LossInfo>, web: bool },
}

/// One call.
pub(crate) struct Call {
    pub(crate) info: &'static LossInfo,
    pub(crate) shape: Vec<usize>,
    pub(crate) variant: usize,
    pub(crate) reduction: Reduction,
    pub(crate) want: Want,
    pub(crate) with: Vec<With>,
    pub(crate) dtypes: [Dtype; 2],
    pub(crate) strategy: Option<RowStrategy>,
    pub(crate) device: &'static Device,
}

pub(crate) type With = fn(Problem) -> Problem;

/// Further tensors by name.
const WITHS: &[(&str, With)] = &[
    ("grad_output", Problem::with_grad_output),
    ("sample_weight", Problem::with_sample_weight),
    ("ignore_mask", Problem::with_ignore_mask),
];

impl Args {
    pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut places = Vec::new();
        let (mut all, mut losses, mut web, mut dispatch) = (None, None, false, None);
        let mut one_call: Option<String> = None;
        let (mut variant, mut reduction, mut strategy) = (0, Reduction::Mean, None);
        let (mut want, mut with, mut dtypes) = (Want::LOSS | Want::GRAD, Vec::new(), [Dtype::F32; 2]);
        let mut device = &DEVICES[0];
        while let Some(name) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("{name}: a value is missing"));
            match name.as_str() {
                "-h" | "--help" => return Ok(Self::Help),
                "--list" => return Ok(Self::List),
                "--web" => web = true,
                "--all" => all = Some(PathBuf::from(value()?)),
                "--only" => losses = Some(value()?.split(',').map(loss_named).collect::<Result<Vec<_>, _>>()?),
                "--variant" => variant = number("variant", &value()?, 0)?,
                "--dispatch" => dispatch = Some(number("dispatch", &value()?, 1)?),
                "--reduction" => reduction = named("reduction", REDUCTIONS, &value()?)?,
                "--want" => want = joined("want", WANTS, &value()?)?.into_iter().fold(Want::empty(), |a, b| a | b),
                "--with" => with = joined("with", WITHS, &value()?)?,
                "--dtype" => dtypes = storage(&value()?)?,
                "--strategy" => strategy = Some(value()?.parse::<RowStrategy>().map_err(|e| e.to_string())?),
                "--facts" => device = Device::named(&value()?)?,
                _ if name.starts_with('-') => return Err(format!("unknown argument `{name}`")),
                _ => places.push(name.clone()),
            }
            if name.starts_with("--") && !matches!(name.as_str(), "--all" | "--only" | "--web") {
                one_call = Some(name);
            }
        }
        match (all, one_call, places.as_slice()) {
            (Some(folder), None, []) => {
                Ok(Self::All { folder, losses: losses.unwrap_or_else(|| LOSSES.iter().collect()), web })
            }
            (Some(_), Some(option), _) => Err(format!("{option}: expected only --only and --web beside --all")),
            (Some(_), None, [place, ..]) => Err(format!("`{place}`: expected no loss beside --all")),
            (None, ..) if losses.is_some() => Err("--only: expected --all beside it".into()),
            (None, _, [loss, shape]) => {
                let (info, shape) = (loss_named(loss)?, parse_shape(shape)?);
                let call = Call { info, shape, variant, reduction, want, with, dtypes, strategy, device };
                Ok(Self::Call { call, dispatch, web })
            }
            (None, ..) => Err("expected LOSS and SHAPE, --all DIR or --list".into()),
        }
    }
}

fn joined<T: Copy>(what: &str, table: &[(&str, T)], text: &str) -> Result<Vec<T>, String> {
    text.split('+').map(|name| named(what, table, name)).collect()
}

fn storage(text: &str) -> Result<[Dtype; 2], String> {
    let (input, grad) = text.split_once(',').unwrap_or((text, text));
    Ok([named("dtype", DTYPES, input)?, named("dtype", DTYPES, grad)?])
}

fn parse_shape(text: &str) -> Result<Vec<usize>, String> {
    let sides = text.split('x').map(str::parse).collect::<Result<Vec<usize>, _>>();
    sides.map_err(|_| format!("shape: expected sizes joined by x, for example 4096x1000, got `{text}`"))
}

fn number(what: &str, text: &str, least: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&number: &usize| number >= least);
    number.ok_or_else(|| format!("{what}: expected a number from {least}, got `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::Args;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_cannot_be_asked_for_is_named() {
        for (line, part) in [
            ("", "expected LOSS and SHAPE"),
            ("cross_entropy", "expected LOSS and SHAPE"),
            ("cross-entropy 2x4", "expected cross_entropy, "),
            ("cross_entropy 2by4", "got `2by4`"),
            ("cross_entropy 2x4 --want loss,grad", "expected loss, grad, grad_input2"),
            ("cross_entropy 2x4 --strategy tile", "tile:ROWS"),
            ("cross_entropy 2x4 --dtype f64", "expected f32, f16, bf16"),
            ("cross_entropy 2x4 --facts gpu", "expected webgpu"),
            ("cross_entropy 2x4 --variant", "a value is missing"),
            ("cross_entropy 2x4 --dispatch 0", "a number from 1"),
            ("--all out --want loss", "--only and --web"),
            ("--all out nll_loss", "no loss"),
            ("--everything", "unknown argument"),
            ("cross_entropy 2x4 --only nll_loss", "--all beside"),
        ] {
            match parse(line) {
                Ok(_) => panic!("`{line}` is accepted"),
                Err(message) => assert!(message.contains(part), "`{line}`: {message}"),
            }
        }
    }

    #[test]
    fn a_call_has_defaults() {
        let Ok(Args::Call { call, dispatch: None, web: false }) = parse("cross_entropy 8x21x64x64 --dtype bf16") else {
            panic!("a call")
        };
        assert_eq!(call.shape, [8, 21, 64, 64]);
        assert_eq!(call.dtypes, [deeploss::Dtype::Bf16; 2]);
        assert_eq!((call.device.name, call.strategy, call.variant), ("webgpu", None, 0));
    }
}
