//! Lists the GPU adapters of this machine, with what they can do, and the one that deeploss takes by default. `cargo
//! run --example adapters`; fails, with what to install, where there is none. `cargo run --example adapters --
//! 4096x1000` also prints how cross-entropy would run there on logits of these shapes.

use std::process::ExitCode;

use deeploss::{AdapterFacts, Context, CrossEntropy, Error, Evaluate, INSTALL_A_DRIVER, Problem};

fn main() -> ExitCode {
    let adapters = deeploss::adapters();
    for facts in &adapters {
        describe(facts);
    }
    if adapters.is_empty() {
        eprintln!("no GPU adapter found; {INSTALL_A_DRIVER}");
        return ExitCode::FAILURE;
    }
    match plans(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plans(shapes: impl Iterator<Item = String>) -> Result<(), Error> {
    let ctx = Context::new()?;
    println!("deeploss takes: {}", ctx.describe());
    if let Some(facts) = ctx.facts() {
        println!("proven there:   {}", facts.proven);
    }
    for shape in shapes {
        let sizes = shape.split_once('x').and_then(|(rows, classes)| Some((rows.parse().ok()?, classes.parse().ok()?)));
        let (rows, classes) = sizes.ok_or_else(|| Error::Value {
            argument: "shape",
            expected: "ROWSxCLASSES".into(),
            got: format!("`{shape}`"),
        })?;
        let prepared = CrossEntropy::new().prepare(&ctx, &Problem::rows(rows, classes))?;
        println!("\ncross_entropy {shape}\n{}", prepared.plan());
    }
    Ok(())
}

fn describe(facts: &AdapterFacts) {
    println!("{} device found: {}", backend(&facts.backend), facts.name);
    println!("  kind                  {}", if facts.is_cpu { "software, on the CPU" } else { "hardware" });
    match facts.subgroup {
        Some((least, most)) if least == most => println!("  subgroups             {least} lanes"),
        Some((least, most)) => println!("  subgroups             {least} to {most} lanes"),
        None => println!("  subgroups             no"),
    }
    println!("  f16 in shaders        {}", if facts.f16 { "yes" } else { "no" });
    println!(
        "  storage binding       up to {}, offsets in steps of {} bytes",
        bytes(facts.max_binding),
        facts.offset_alignment
    );
    println!("  storage bindings      {} per shader", facts.max_storage_buffers);
    println!(
        "  workgroup             up to {} invocations, {}",
        facts.max_invocations,
        bytes(facts.max_workgroup_memory.into())
    );
    println!("  workgroups            up to {} per dimension\n", facts.max_workgroups);
}

/// A backend as its makers write it.
fn backend(name: &str) -> &str {
    match name {
        "vulkan" => "Vulkan",
        "metal" => "Metal",
        "dx12" => "Direct3D 12",
        "gl" => "OpenGL",
        "webgpu" => "WebGPU",
        other => other,
    }
}

/// A size in the largest unit of which it has at least one.
fn bytes(size: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| size >= *unit) {
        Some((unit, name)) => format!("{:.3} {name}", size as f64 / *unit as f64).replace(".000", ""),
        None => format!("{size} bytes"),
    }
}
