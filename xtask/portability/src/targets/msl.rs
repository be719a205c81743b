//! Metal, compiled: naga's MSL as the C++ that it is, by clang, with a header of our own in place of Apple's. It finds what is not
//! sound C++, and names, types and overloads that Metal does not have; not what Apple's compiler alone minds.

use std::env;
use std::fs;
use std::io::{self, BufRead};
use std::process::Command;

use super::clock::{Whose, cpu_seconds};
use super::{Compiler, Found, Place, Run, Target, answer_to, say};
use crate::install::Piece;
use crate::programs::{Abilities, Program};
use crate::report::Column;
use crate::translate::Translator;

pub(crate) struct Msl;

const CLANG: &str = "clang-19";

impl Target for Msl {
    fn name(&self) -> &'static str {
        "msl"
    }

    fn about(&self) -> &'static str {
        "Metal: naga's MSL through clang, with a header in place of Apple's"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Piece::Debian("clang-19"), Piece::Debian("libstdc++-12-dev")]
    }

    fn column(&self, run: &Run<'_>) -> Column {
        self.feed(run)
    }
}

impl Compiler for Msl {
    fn find(&self, place: &Place) -> Result<Found, String> {
        let clang = place.program(CLANG)?;
        let folder = place.folder("build/metal")?;
        for (name, text) in [("metal_stdlib", include_str!("metal_stdlib")), ("simd/simd.h", "")] {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().unwrap_or(&folder)).map_err(|e| format!("{}: {e}", file.display()))?;
            fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
        }
        let program = env::current_exe().map_err(|e| e.to_string())?;
        let command = move || {
            let mut command = Command::new(&program);
            command.args(["--serve", "msl"]).arg(&clang).arg(&folder);
            command
        };
        Ok(Found::new("clang 19, MSL 2.3", Abilities::ALL, command))
    }

    fn request(&self, place: &Place, translator: &mut Translator, program: &Program) -> Result<String, String> {
        let file = place.folder("build")?.join("msl.cpp");
        // The first version with 64-bit integers and all that subgroups need.
        let translated = translator.msl(program, (2, 3))?;
        fs::write(&file, translated.text).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok(file.display().to_string())
    }
}

/// Compiles the files that it is told, one a line.
pub(crate) fn serve(clang: &str, headers: &str) -> Result<(), String> {
    say("ready {}")?;
    for file in io::stdin().lock().lines() {
        let file = file.map_err(|e| e.to_string())?;
        let start = cpu_seconds(Whose::Children);
        let output = Command::new(clang)
            .args(["-std=c++20", "-fsyntax-only", "-fno-caret-diagnostics", "-Wall", "-Werror"])
            // Metal has no double.
            .args(["-Xclang", "-cl-single-precision-constant"])
            // Attributes that only Metal knows; helpers of naga that a module has no use for.
            .args(["-Wno-unknown-attributes", "-Wno-unused", "-Wno-parentheses-equality", "-isystem", headers, &file])
            .output();
        let outcome = match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        };
        answer_to(outcome, cpu_seconds(Whose::Children) - start)?;
    }
    Ok(())
}
