//! What JavaScript calls: a race, and its figures as JSON.

use serde_json::{Value, json};
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

use super::digits::{Data, Scenario};
use super::network::Descent;
use super::{Figures, Options, RUNNERS, TEACHER_STEPS};
use crate::device::Device;

/// See [`super::Race`]. One call at a time: each is awaited before the next.
#[wasm_bindgen]
pub struct Race(super::Race);

type Result<T> = std::result::Result<T, JsError>;

#[wasm_bindgen]
impl Race {
    /// `choice` has `scenario` ("clean", "tail", "wrong"), `strength` (ratio, or share), `seed`, and what [`Race::options`] takes.
    pub async fn open(device: &Device, choice: String) -> Result<Race> {
        let choice: Value = serde_json::from_str(&choice)?;
        let strength = number(&choice, "strength") as f32;
        let scenario = match choice["scenario"].as_str() {
            Some("tail") => Scenario::LongTail { ratio: strength },
            Some("wrong") => Scenario::WrongLabels { share: strength },
            _ => Scenario::Clean,
        };
        let seed = number(&choice, "seed") as u64;
        Ok(Self(super::Race::new(device.ctx(), scenario, seed, options(&choice)).await?))
    }

    /// Names of the runners, samples and wrong labels, as JSON.
    pub fn about(&self) -> String {
        let data = self.0.data();
        json!({
            "runners": RUNNERS,
            "train": data.train.counts(),
            "test": data.test.counts(),
            "wrong": data.wrong,
            "teacherSteps": TEACHER_STEPS,
        })
        .to_string()
    }

    /// Some steps of the teacher; as JSON how many there have been, and its figures after the last.
    pub async fn teach(&mut self, steps: usize) -> Result<String> {
        let progress = self.0.teach(steps).await?;
        Ok(json!({ "taught": self.0.taught(), "figures": figures(&progress.tallies, self.0.data()) }).to_string())
    }

    /// Some steps of the race; as JSON where it stands, the losses of each step, and the figures if asked for.
    pub async fn advance(&mut self, steps: usize, rate: f32, momentum: f32, measures: bool) -> Result<String> {
        let progress = self.0.advance(steps, Descent { rate, momentum }, measures).await?;
        let losses: Vec<&[f32]> = progress.losses.chunks_exact(RUNNERS.len()).collect();
        Ok(json!({
            "step": self.0.step(),
            "losses": losses,
            "figures": figures(&progress.tallies, self.0.data()),
        })
        .to_string())
    }

    /// `smoothing`, `gamma` and `temperature` from now on.
    pub async fn options(&mut self, choice: String) -> Result<()> {
        let choice = serde_json::from_str(&choice)?;
        Ok(self.0.set_options(options(&choice)).await?)
    }

    /// Back to the start.
    pub fn restart(&mut self) {
        self.0.restart();
    }
}

fn options(choice: &Value) -> Options {
    let option = |name| number(choice, name) as f32;
    Options { smoothing: option("smoothing"), gamma: option("gamma"), temperature: option("temperature") }
}

/// What is missing is NaN, which every loss refuses by name.
fn number(choice: &Value, name: &str) -> f64 {
    choice[name].as_f64().unwrap_or(f64::NAN)
}

fn figures(tallies: &Option<Vec<f32>>, data: &Data) -> Value {
    let of_one = |figures: Figures| {
        json!({
            "accuracy": figures.accuracy,
            "ofClass": figures.of_class,
            "bins": figures.bins,
            "calibrationError": figures.calibration_error,
            "surprise": figures.surprise,
        })
    };
    tallies.as_ref().map_or(Value::Null, |tallies| Figures::of(tallies, data).into_iter().map(of_one).collect())
}
