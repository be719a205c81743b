//! Judges what a browser answered: each line of a file is a call of the page and its answer, which the CPU reference must confirm in f64.
//! Given a second file, also writes there the Rust programs that the page shows for these calls, as functions, to be compiled.

use std::collections::BTreeMap;
use std::process::ExitCode;

use deeploss_web::call::{Call, reference};
use deeploss_web::code::Programs;
use serde_json::Value;

/// What separates two float32 results of one formula: this times the scale of the tensor.
const TOLERANCE: f64 = 2e-6;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(file) = arguments.next() else {
        eprintln!("usage: judge FILE [PROGRAMS.rs]");
        return ExitCode::from(2);
    };
    let written = arguments.next().map_or(Ok(()), |programs| write_programs(&file, &programs));
    match written.and_then(|()| judge(&file)) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn judge(file: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let (mut numbers, mut worst, mut faults) = (0, 0.0_f64, Vec::new());
    for (line, text) in text.lines().enumerate() {
        let answered: Value = serde_json::from_str(text).map_err(|e| format!("{file}:{}: {e}", line + 1))?;
        let expected = Call::parse(&answered["call"])
            .and_then(|call| pollster::block_on(call.answer(reference)).map_err(|e| e.to_string()));
        let outcome = expected.and_then(|expected| compare(&answered["answer"], &expected, logits(&answered["call"])));
        match outcome {
            Ok((count, error)) => (numbers, worst) = (numbers + count, worst.max(error)),
            Err(reason) => faults.push(format!("{}: {reason}", answered["call"])),
        }
    }
    if numbers == 0 {
        faults.push("nothing was answered".into());
    }
    if faults.is_empty() {
        let lines = text.lines().count();
        Ok(format!(
            "  {lines} answers, {numbers} numbers: all as in f64, the worst {worst:.1e} of its tensor's scale away"
        ))
    } else {
        faults.truncate(20);
        Err(faults.join("\n"))
    }
}

/// The programs of the calls, each distinct one once.
fn write_programs(file: &str, programs: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let mut functions = BTreeMap::new();
    for text in text.lines() {
        let answered: Value = serde_json::from_str(text).map_err(|e| format!("{file}: {e}"))?;
        let Programs { line, arrays, buffers, .. } = Programs::of(&Call::parse(&answered["call"])?);
        // What differs between programs is options, not numbers.
        let digits = |c: char| c.is_ascii_digit() || ".-_".contains(c);
        functions.entry(line.replace(digits, "") + info_of(&answered)).or_insert([arrays, buffers]);
    }
    let mut rust = String::from("//! What the page shows.\n#![allow(unused)]\n\nuse deeploss::wgpu;\n");
    for (number, [arrays, buffers]) in functions.values().enumerate() {
        rust += &format!("\nfn arrays_{number}() -> Result<(), deeploss::Error> {{\n{arrays}Ok(())\n}}\n");
        let names = ["logits", "log_probs", "probs", "scores", "targets", "others", "row_weights", "loss", "grad"];
        let parameters = names.map(|name| format!("{name}: &wgpu::Buffer")).join(", ");
        rust +=
            &format!("\nfn buffers_{number}(ctx: deeploss::Context, mut encoder: wgpu::CommandEncoder, {parameters}) ");
        rust += &format!("-> Result<(), deeploss::Error> {{\n{buffers}Ok(())\n}}\n");
    }
    let arrays: Vec<_> = (0..functions.len()).map(|number| format!("arrays_{number}().unwrap();")).collect();
    let buffers: Vec<_> = (0..functions.len()).map(|number| format!("let _ = buffers_{number};")).collect();
    rust += &format!("\nfn main() {{\n{}\n{}\n}}\n", arrays.join("\n"), buffers.join("\n"));
    println!("  {} programs in {programs}", 2 * functions.len());
    std::fs::write(programs, rust).map_err(|e| format!("{programs}: {e}"))
}

fn info_of(answered: &Value) -> &str {
    answered["call"]["loss"].as_str().unwrap_or_default()
}

/// The largest logit of cross-entropy, which the log-sum-exp is as large as.
fn logits(call: &Value) -> f64 {
    if call["loss"] != "cross_entropy" {
        return 0.0;
    }
    let input = call["input"].as_array().into_iter().flatten().flat_map(|row| match row {
        Value::Array(row) => row.clone(),
        number => vec![number.clone()],
    });
    let moved = call["sweep"]["values"].as_array().into_iter().flatten().cloned();
    input.chain(moved).filter_map(|value| value.as_f64()).fold(0.0, |most: f64, v| most.max(v.abs()))
}

/// Numbers of an answer, and the largest error relative to the scale of its tensor.
fn compare(got: &Value, expected: &Value, logits: f64) -> Result<(usize, f64), String> {
    let (mut count, mut worst) = (0, 0.0_f64);
    for place in ["/loss", "/items", "/gradInput", "/gradInput2", "/gradTarget", "/p", "/curve/loss", "/curve/slope"] {
        let list = |answer: &Value| answer.pointer(place).and_then(Value::as_array).cloned().unwrap_or_default();
        let (got, expected) = (list(got), list(expected));
        if got.len() != expected.len() {
            return Err(format!("{place}: {} numbers, expected {}", got.len(), expected.len()));
        }
        let largest = expected.iter().filter_map(Value::as_f64).fold(0.0, |most: f64, v| most.max(v.abs()));
        // Where a probability is subtracted from 1, what is lost is of the size of 1, or of one item's share of it.
        let least = match place {
            "/gradInput" | "/gradInput2" | "/gradTarget" => 1.0 / got.len() as f64,
            "/curve/slope" | "/p" => 1.0,
            _ => logits.max(1.0),
        };
        for (got, expected) in got.iter().zip(&expected) {
            let error = match (got.as_f64(), expected.as_f64()) {
                (Some(got), Some(expected)) => (got - expected).abs() / largest.max(least),
                _ if got == expected => 0.0,
                _ => f64::INFINITY,
            };
            if error > TOLERANCE {
                return Err(format!("{place}: {got}, expected {expected}"));
            }
            (count, worst) = (count + 1, worst.max(error));
        }
    }
    Ok((count, worst))
}
