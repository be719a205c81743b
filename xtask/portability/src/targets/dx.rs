//! Direct3D 12, compiled: naga's HLSL through Microsoft's compilers. DXC, for shader model 6, has a build for Linux in the Python
//! package compushady. FXC, for 5.1, which wgpu takes where a program ships without dxcompiler.dll, runs under wine; its DLL is in
//! the npm package webgpu.

use std::path::PathBuf;
use std::process::Command;

use naga::back::hlsl::ShaderModel;

use super::{Compiler, Found, Place, Run, Target, compiled, wine, write};
use crate::install::Piece;
use crate::programs::{Abilities, Program};
use crate::report::Column;
use crate::translate::Translator;

pub(crate) struct Dxc;
pub(crate) struct Fxc;

impl Target for Dxc {
    fn name(&self) -> &'static str {
        "dxc"
    }

    fn about(&self) -> &'static str {
        "DX12, compiled: naga's HLSL for shader model 6.0 through DXC"
    }

    fn goal(&self) -> Option<f64> {
        Some(1.5)
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Piece::PypiCompushady]
    }

    fn column(&self, run: &Run<'_>) -> Column {
        self.feed(run)
    }
}

impl Compiler for Dxc {
    fn find(&self, place: &Place) -> Result<Found, String> {
        let library = place.file("compushady/compushady/backends/libdxcompiler_x86_64.so.3.7")?;
        let program = driver(place, "dx", "cc", &["-ldl"])?;
        let command = move || {
            let mut command = Command::new(&program);
            command.arg("dxc").arg(&library);
            command
        };
        Ok(Found::new("DXC 1.8 (compushady 0.17.5)", Abilities::ALL, command))
    }

    fn request(&self, place: &Place, translator: &mut Translator, program: &Program) -> Result<String, String> {
        request(self.name(), place, translator, program, ShaderModel::V6_0)
    }
}

impl Target for Fxc {
    fn name(&self) -> &'static str {
        "fxc"
    }

    fn about(&self) -> &'static str {
        "DX12 without dxcompiler.dll, compiled: naga's HLSL for shader model 5.1 through FXC under wine"
    }

    fn goal(&self) -> Option<f64> {
        Some(4.0)
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Piece::NpmWebgpu, Piece::Debian("wine"), Piece::Debian("wine64"), Piece::Debian("gcc-mingw-w64-x86-64-win32")]
    }

    fn column(&self, run: &Run<'_>) -> Column {
        self.feed(run)
    }
}

impl Compiler for Fxc {
    fn find(&self, place: &Place) -> Result<Found, String> {
        let library = place.file("npm/node_modules/webgpu/dist/win32-x64/d3dcompiler_47.dll")?;
        let wine = place.program("wine")?;
        let program = driver(place, "dx.exe", "x86_64-w64-mingw32-gcc", &["-static"])?;
        let prefix = place.folder("wine")?;
        let command = move || {
            let mut command = Command::new(&wine);
            command.arg(&program).arg("fxc").arg(&library);
            wine::environment(&mut command, &prefix);
            command
        };
        let abilities = Abilities { subgroups: false, int64: false, ..Abilities::ALL };
        Ok(Found::new("FXC 10 (d3dcompiler_47.dll)", abilities, command))
    }

    fn request(&self, place: &Place, translator: &mut Translator, program: &Program) -> Result<String, String> {
        request(self.name(), place, translator, program, ShaderModel::V5_1)
    }
}

/// dx.c, compiled.
fn driver(place: &Place, name: &str, compiler: &str, further: &[&str]) -> Result<PathBuf, String> {
    let program = place.folder("build")?.join(name);
    compiled(place, ("dx.c", include_str!("dx.c")), compiler, &program, further)?;
    Ok(program)
}

fn request(
    name: &str,
    place: &Place,
    translator: &mut Translator,
    program: &Program,
    model: ShaderModel,
) -> Result<String, String> {
    let translated = translator.hlsl(program, model)?;
    let file = place.folder("build")?.join(format!("{name}.hlsl"));
    write(&file, &translated.text)?;
    Ok(format!("{}\t{}\tcs_{}", file.display(), translated.entry, model.to_str()))
}
