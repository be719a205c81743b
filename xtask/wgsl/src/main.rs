//! `cargo xtask wgsl`: the linked WGSL modules of a call, or of every call, for people to read and for other compilers to check.
//! No device is needed.

mod args;
mod manifest;

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use args::{Args, Call, USAGE};
use deeploss::internals::{Dispatch, Part};
use deeploss::{LOSSES, Loss, LossInfo, Plan, Problem};
use deeploss_wgsl::calls::{DTYPES, REDUCTIONS, name_of, shape_text, target_kind, variants, want_text};
use deeploss_wgsl::devices::DEVICES;
use deeploss_wgsl::{all, module};

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(message) => {
            eprintln!("wgsl: {message} (--help lists the options)");
            return ExitCode::from(2);
        }
    };
    let outcome = match args {
        Args::Help => Ok(USAGE.to_owned()),
        Args::List => Ok(list()),
        Args::All { folder, losses, web } => write_all(&folder, &losses, web),
        Args::Call { call, dispatch, web } => modules(&call, dispatch, web),
    };
    match outcome {
        // A reader that has seen enough closes the pipe: no failure.
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        },
        Err(message) => {
            eprintln!("wgsl: {message}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> String {
    let mut lines = Vec::new();
    for info in LOSSES {
        lines.push(info.name.to_owned());
        lines.extend((info.variants)(4).iter().enumerate().map(|(number, loss)| format!("  {number}  {loss:?}")));
    }
    lines.push("\ndevices of --facts".into());
    lines.extend(DEVICES.iter().map(|device| format!("  {:9} {}", device.name, device.about)));
    lines.join("\n") + "\n"
}

fn write_all(folder: &Path, losses: &[&'static LossInfo], web: bool) -> Result<String, String> {
    let modules = all::collect(losses, web, 1)?;
    manifest::write(folder, &modules, web)?;
    let programs: usize = modules.iter().map(|module| module.programs.len()).sum();
    Ok(format!("{} modules of {programs} kernels in {}\n", modules.len(), folder.display()))
}

/// The dispatches of one call, or one of them, each as its module.
fn modules(call: &Call, only: Option<usize>, web: bool) -> Result<String, String> {
    let mut all = variants(call.info, &call.shape);
    if call.variant >= all.len() {
        let (name, most) = (call.info.name, all.len() - 1);
        return Err(format!("variant: expected 0 to {most} for {name}, got {}", call.variant));
    }
    let loss = all.swap_remove(call.variant).with_reduction(call.reduction);
    let [input, grad] = call.dtypes;
    let problem = Problem::new(&call.shape, target_kind(&*loss)).wants(call.want).input_dtype(input).grad_dtype(grad);
    let problem = call.with.iter().fold(problem, |problem, with| with(problem));
    let lowered = loss.lower(&problem).map_err(|e| e.to_string())?;
    let plan = Plan::new(&lowered, &problem, &call.device.facts(), call.strategy).map_err(|e| e.to_string())?;
    let dispatches = plan.dispatches();
    if let Some(number) = only.filter(|&number| number > dispatches.len()) {
        return Err(format!("dispatch: expected 1 to {}, got {number}", dispatches.len()));
    }
    let mut text = String::new();
    let mut printed: HashMap<Vec<Part>, usize> = HashMap::new();
    for (number, dispatch) in (1..).zip(dispatches).filter(|(number, _)| only.is_none_or(|only| only == *number)) {
        text += &format!("// {}, dispatch {number} of {}\n", dispatch.kernel.label(), dispatches.len());
        text += &head(call, &*loss, &plan, dispatch);
        match printed.get(&dispatch.kernel.parts()) {
            Some(before) => text += &format!("\n// module     that of dispatch {before}\n\n"),
            None => text += &format!("\n\n{}\n", module::text(&dispatch.kernel, web)),
        }
        printed.entry(dispatch.kernel.parts()).or_insert(number);
    }
    Ok(text)
}

/// What a dispatch is given, as comments.
fn head(call: &Call, loss: &dyn Loss, plan: &Plan, dispatch: &Dispatch) -> String {
    let Dispatch { kernel, uniforms, grid: [x, y], binds, .. } = dispatch;
    let [input, grad] = call.dtypes.map(|dtype| name_of(DTYPES, &dtype));
    let reduction = name_of(REDUCTIONS, &call.reduction);
    let (shape, want) = (shape_text(&call.shape), want_text(call.want));
    let constants: Vec<_> = kernel.constants().iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let parts: Vec<_> = kernel.parts().iter().map(|part| part.name).collect();
    let mut lines = vec![
        format!("call       {} {shape}, {want}, {reduction}, input {input}, gradient {grad}", call.info.name),
        format!("options    {loss:?}"),
        format!("facts      {}: {}", call.device.name, call.device.about),
        format!("strategy   {} ({})", plan.strategy(), plan.reason()),
        format!("entry      {}", kernel.entry()),
        format!("constants  {}", if constants.is_empty() { "none".into() } else { constants.join(", ") }),
        format!("grid       {x} x {y} workgroups"),
        format!("uniforms   binding 0, {} bytes", uniforms.len()),
    ];
    for binding in kernel.bindings() {
        let bind = binds.iter().find(|bind| bind.slot == binding.slot);
        let range = bind.map_or_else(String::new, |bind| {
            format!(", bytes {}..{} of {}", bind.offset, bind.offset + bind.size, bind.tensor.name())
        });
        let access = manifest::access(binding.written);
        lines.push(format!("binding {:2} {} ({access}), stride {}{range}", binding.slot, binding.name, binding.stride));
    }
    lines.push(format!("parts      {}", parts.join(" ")));
    lines.iter().map(|line| format!("// {line}")).collect::<Vec<_>>().join("\n")
}
