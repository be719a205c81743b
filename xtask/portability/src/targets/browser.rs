//! A browser: the crate as wasm in a page, golden cases on the browser's WebGPU. `cargo xtask web --test conformance` does it; its lines
//! are read here.

use std::process::Command;

use super::{Place, Run, Target};
use crate::install::Piece;
use crate::report::{Column, Kind};
use crate::worker::Answer;

pub(crate) struct Browser {
    name: &'static str,
    about: &'static str,
    /// Of `cargo xtask`.
    arguments: &'static [&'static str],
    pieces: &'static [Piece],
    /// The browser's program, which must be here.
    program: &'static str,
}

pub(crate) const CHROMIUM: Browser = Browser {
    name: "chromium",
    about: "WebGPU in headless Chromium: the crate as wasm, golden cases on SwiftShader",
    arguments: &["web", "--test", "conformance"],
    pieces: &[Piece::Debian("chromium"), Piece::Debian("nodejs"), Piece::Debian("npm")],
    program: "chromium",
};

impl Target for Browser {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn pieces(&self) -> &'static [Piece] {
        self.pieces
    }

    fn column(&self, run: &Run<'_>) -> Column {
        match self.output(run.place) {
            Ok((text, succeeded)) => self.read(run, &text, succeeded),
            Err(why) => Column::missing(self, why),
        }
    }
}

impl Browser {
    /// What the command prints, and whether it succeeded.
    fn output(&self, place: &Place) -> Result<(String, bool), String> {
        place.program(self.program)?;
        place.program("node")?;
        if !crate::root().join("xtask/web").is_dir() {
            return Err("this checkout has no xtask/web".into());
        }
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.arg("xtask").args(self.arguments).current_dir(crate::root());
        let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        Ok((format!("{}\n{errors}", String::from_utf8_lossy(&output.stdout)), output.status.success()))
    }

    /// Lines such as `  hinge_loss   12 of 34 cases, ...`, `  FAULT ...`, and the browser with its adapter before them.
    fn read(&self, run: &Run<'_>, text: &str, succeeded: bool) -> Column {
        let version = text.lines().find(|line| line.to_lowercase().starts_with(self.name));
        let mut column = Column::new(self, version.unwrap_or(self.name).to_owned());
        let mut faults: Vec<&str> = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let loss = words.first().and_then(|word| run.losses.iter().find(|info| info.name == *word));
            if let Some((_, fault)) = line.split_once("FAULT ") {
                faults.push(fault);
            } else if let (Some(loss), Some(Ok(cases))) = (loss, words.get(1).map(|number| number.parse::<usize>())) {
                // The faults before the line of a loss are its own.
                let mut own = std::mem::take(&mut faults).into_iter().map(|fault| Some(fault.to_owned()));
                for _ in 0..cases {
                    let answer = Answer { seconds: 0.0, fault: own.next().flatten() };
                    column.add(Kind::Case, loss.name, format!("{} in {}", loss.name, self.name), answer);
                }
            }
        }
        // A command that fails, or runs nothing, and does not say which case: its last word counts.
        if faults.is_empty() && !column.has_faults() && !(succeeded && column.is_fine()) {
            faults.push(text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("prints nothing"));
        }
        if let Some(fault) = faults.first() {
            let what = format!("cargo xtask {}", self.arguments.join(" "));
            column.add(Kind::Case, "the page", what, Answer::refused(fault));
        }
        column
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use deeploss::{LOSSES, LossInfo};

    use super::{CHROMIUM, Column, Place, Run};
    use crate::programs::Level;

    fn column(text: &str, succeeded: bool) -> Column {
        let (place, losses) = (Place(PathBuf::new()), LOSSES.iter().collect::<Vec<&'static LossInfo>>());
        let limit = Duration::from_secs(1);
        let run =
            Run { place: &place, losses: &losses, programs: &[], level: Level::Sample, cases: &[], step: 1, limit };
        CHROMIUM.read(&run, text, succeeded)
    }

    #[test]
    fn lines_of_losses_are_cases_and_faults_are_faults() {
        let fine = "Chromium 156: swiftshader\n  hinge_loss    2 of   9 cases, 3 in 16 bits, 0.1 s\n";
        assert!(column(fine, true).is_fine());
        assert!(column(fine, true).summary().contains("2 cases, 0 wrong"));
        let wrong = column("  FAULT hinge.a: off\n  hinge_loss    2 of   9 cases, 0.1 s\n", false);
        assert!(wrong.summary().contains("1 wrong") && wrong.summary().contains("hinge.a: off"), "{}", wrong.summary());
    }

    #[test]
    fn silence_is_a_fault() {
        assert!(!column("", true).is_fine());
        assert!(column("web: no npm\n", false).summary().contains("no npm"));
        assert!(!column("  hinge_loss    2 of   9 cases, 0.1 s\n", false).is_fine());
    }
}
