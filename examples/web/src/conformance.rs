//! The golden cases in a browser: the tests' own cases, judge and tolerances, on the browser's device.

use std::collections::{BTreeMap, BTreeSet};

use deeploss::half::{bf16, f16};
use deeploss::internals::OwnedTensors;
use deeploss::{Evaluate, LOSSES, Loss, Storage, Tensors, Want};
use serde_json::json;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::device::Device;
use crate::support::compare::{self, TOLERANCE, largest};
use crate::support::conformance::{COLUMNS, Case, parse, run_async};

/// Folders of golden cases, file by file.
#[wasm_bindgen]
#[derive(Default)]
pub struct Goldens {
    files: BTreeMap<String, Vec<u8>>,
}

#[wasm_bindgen]
impl Goldens {
    /// No files yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Goldens {
        Self::default()
    }

    /// A file, as `FOLDER.NAME`.
    pub fn add(&mut self, name: String, bytes: Vec<u8>) {
        self.files.insert(name, bytes);
    }

    /// Runs the first case of each set of tags of one op, and every `step`th of the rest; then the op's loss in 16 bits, every variant. The
    /// outcome as JSON.
    pub async fn run(&self, device: &Device, op: String, step: usize) -> String {
        let cases = ["goldens", "more"].map(|folder| {
            parse(|name| {
                let name = format!("{folder}.{name}");
                self.files.get(&name).cloned().ok_or_else(|| format!("{name}: no such file").into())
            })
        });
        let mut all = Vec::new();
        for cases in cases {
            match cases {
                Ok(cases) => all.extend(cases),
                Err(error) => return json!({ "failures": [error.to_string()] }).to_string(),
            }
        }
        let of_op: Vec<&Case> = all.iter().filter(|case| case.op == op).collect();
        let mut kinds = BTreeSet::new();
        let chosen = of_op.iter().enumerate().filter(|(k, case)| kinds.insert(&case.tags) || k % step == 0);
        let chosen: Vec<&Case> = chosen.map(|(_, case)| *case).collect();
        let mut report = run_async(chosen.iter().copied(), device.ctx()).await;
        let mut failures: Vec<String> = report.failures.iter().map(|(id, reason)| format!("{id}: {reason}")).collect();
        let numbers = |rows: &[Vec<String>], column: &str| -> Vec<f64> {
            let place = COLUMNS.iter().position(|name| *name == column);
            place.map_or_else(Vec::new, |place| rows.iter().filter_map(|row| row[place].parse().ok()).collect())
        };
        let rows = report.rows();
        let values = numbers(&rows, "values").iter().sum::<f64>();
        let worst = numbers(&rows, "max norm").into_iter().fold(0.0, f64::max);
        let mut halves = 0;
        for info in LOSSES.iter().filter(|info| info.name == op) {
            for loss in (info.variants)(CLASSES) {
                let tensors = loss.example_inputs(&[5, CLASSES], 3);
                let f16 = half::<f16>(device, &*loss, &tensors, f16::from_f32, f16::to_f32, 1.0 / 1024.0).await;
                let bf16 = half::<bf16>(device, &*loss, &tensors, bf16::from_f32, bf16::to_f32, 1.0 / 128.0).await;
                halves += 2;
                for (dtype, outcome) in [("f16", f16), ("bf16", bf16)] {
                    failures.extend(outcome.err().map(|reason| format!("{loss:?} in {dtype}: {reason}")));
                }
            }
        }
        json!({ "cases": chosen.len(), "of": of_op.len(), "values": values, "worst": worst, "halves": halves, "failures": failures })
            .to_string()
    }
}

/// Not a multiple of what a word of halves holds.
const CLASSES: usize = 7;

/// One call in 16 bits against f64 on the same numbers: the loss to the contract, the gradient rounded once more, to `spacing`.
async fn half<X: Storage + Into<f64>>(
    device: &Device,
    loss: &dyn Loss,
    tensors: &OwnedTensors,
    narrow: fn(f32) -> X,
    widen: fn(X) -> f32,
    spacing: f64,
) -> Result<(), String> {
    let input = tensors.input.mapv(narrow);
    let mut wide = tensors.clone();
    wide.input = input.mapv(widen);
    let want = Want::LOSS | Want::GRAD;
    let expected = loss.reference(&wide.to_f64().view().wants(want)).map_err(|e| e.to_string())?;
    let view = wide.view();
    let mut call = Tensors::new(input.view(), view.target).wants(want);
    call.input2 = view.input2;
    let got = loss.evaluate_async(device.ctx(), &call).await.map_err(|e| e.to_string())?;
    let (Some(got_loss), Some(expected_loss)) = (&got.loss, &expected.loss) else { return Err("no loss".into()) };
    compare::tensor(got_loss, expected_loss, TOLERANCE, 1.0).map_err(|reason| format!("loss: {reason}"))?;
    let (Some(got), Some(expected)) = (&got.grad_input, &expected.grad_input) else { return Err("no gradient".into()) };
    let floor = TOLERANCE * largest(expected).max(1.0 / expected.len() as f64);
    for (&got, &expected) in got.iter().zip(expected) {
        let got: f64 = got.into();
        let differs = match (got.is_nan(), expected.is_nan()) {
            (false, false) => (got - expected).abs() > spacing * expected.abs() + floor,
            (got, expected) => got != expected,
        };
        if differs {
            return Err(format!("gradient: {got:e}, expected {expected:e}"));
        }
    }
    Ok(())
}
