//! Opens the page in headless Chromium and checks it; then runs golden cases there.
//!
//! What the page answers is judged natively by the CPU reference in f64. The golden cases are a program of their own beside it, so that
//! what is tested is what is shipped.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use crate::serve::Server;
use crate::site::{self, files, home};
use crate::{Result, cargo, ran, root};

/// Drives browsers; this version is fetched from npm.
const PLAYWRIGHT: &str = "playwright-core@1.65.1";

/// Which tests there are: the page without WebGPU, with it, the golden cases with it, and the page in Firefox.
const PARTS: [&str; 4] = ["cpu", "gpu", "conformance", "firefox"];

/// Chapters without calls of a loss.
const BOARDS: [&str; 2] = ["race", "head"];

/// The programs that the page shows, to be compiled.
const PROGRAMS: &str = r#"[package]
name = "programs"
edition = "2024"

[workspace]

[dependencies]
deeploss = { path = "../../..", default-features = false, features = ["host"] }
"#;

/// `names` are parts, and chapters or ops; without any, everything.
pub(crate) fn test(page: &Path, names: &[String]) -> Result<()> {
    let tools = Tools::find()?;
    let is_part = |name: &&String| PARTS.contains(&name.as_str());
    let (parts, others): (Vec<_>, Vec<_>) = names.iter().partition(is_part);
    let shots = home().join("shots");
    let mut faults = Vec::new();
    for part in PARTS.iter().filter(|part| parts.is_empty() || parts.iter().any(|name| name == *part)) {
        let begun = Instant::now();
        let outcome = match *part {
            "conformance" => conformance(&tools, &others),
            "firefox" => firefox(page, !parts.is_empty(), &shots, &others),
            mode => touched(&tools, page, mode, &shots, &others),
        };
        println!("  {part}: {:.0} s", begun.elapsed().as_secs_f64());
        faults.extend(outcome.err().map(|reason| format!("{part}: {reason}")));
    }
    println!("screenshots in {}", shots.display());
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Touches every control of the page, and has the answers judged.
fn touched(tools: &Tools, page: &Path, mode: &str, shots: &Path, chapters: &[&String]) -> Result<()> {
    let url = served(page)?;
    let outcome = ran(tools.script("test.mjs").args([&url, mode]).arg(shots).args(chapters));
    let answers = shots.join(format!("answers-{mode}.jsonl"));
    // The race and the head alone answer no call of a loss.
    if chapters.iter().all(|name| BOARDS.contains(&name.as_str())) && !chapters.is_empty() {
        return outcome.map_err(|_| "the page has faults".to_owned());
    }
    let mut judge = judge(&answers);
    let programs = home().join("programs");
    if mode == "cpu" {
        let write = |name: &str, text: &str| fs::write(programs.join(name), text).map_err(|e| format!("{name}: {e}"));
        fs::create_dir_all(programs.join("src")).map_err(|e| format!("{}: {e}", programs.display()))?;
        write("Cargo.toml", PROGRAMS)?;
        copy(&root().join("Cargo.lock"), &programs.join("Cargo.lock"))?;
        judge.arg(programs.join("src/main.rs"));
    }
    let judged = ran(&mut judge);
    if mode == "cpu" && judged.is_ok() {
        ran(cargo().current_dir(&programs).args(["check", "--quiet", "--target-dir"]).arg(home().join("tool")))
            .map_err(|_| "a program that the page shows does not compile".to_owned())?;
    }
    outcome.map_err(|_| "the page has faults".to_owned()).and(judged.map_err(|_| "the reference disagrees".into()))
}

/// Opens the page in Firefox, where there is one, and has the answers judged.
fn firefox(page: &Path, is_asked_for: bool, shots: &Path, chapters: &[&String]) -> Result<()> {
    let Some(firefox) = ["firefox", "firefox-esr"].into_iter().find_map(in_path) else {
        println!("Firefox: not here");
        return if is_asked_for { Err("install it: apt-get install firefox-esr".into()) } else { Ok(()) };
    };
    let mut script = Command::new("node");
    script.args(["--experimental-websocket", "--no-warnings"]).arg(root().join("xtask/web/firefox.mjs"));
    ran(script.arg(firefox).arg(served(page)?).arg(shots).args(chapters))
        .map_err(|_| "the page has faults".to_owned())?;
    ran(&mut judge(&shots.join("answers-firefox.jsonl"))).map_err(|_| "the reference disagrees".into())
}

/// What compares answers with the reference.
fn judge(answers: &Path) -> Command {
    let mut judge = cargo();
    judge.args(["run", "--quiet", "--package", "deeploss-web", "--bin", "judge", "--"]).arg(answers);
    judge
}

/// Runs a sample of the golden cases in the browser.
fn conformance(tools: &Tools, ops: &[&String]) -> Result<()> {
    let folder = home().join("conformance");
    site::fresh(&folder)?;
    site::bind(&site::compile(&["--features", "conformance"])?, &folder)?;
    for (name, from) in [("goldens", "tests/goldens"), ("more", "tests/goldens/more")] {
        for file in files(&root().join(from))? {
            let own = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            copy(&file, &folder.join(format!("{name}.{own}")))?;
        }
    }
    for name in ["conformance.html", "conformance.js"] {
        copy(&root().join("xtask/web").join(name), &folder.join(name))?;
    }
    let names: Vec<_> =
        files(&folder)?.iter().filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())).collect();
    let goldens: Vec<_> =
        names.iter().filter(|name| name.starts_with("goldens.") || name.starts_with("more.")).collect();
    let list = serde_json::to_string(&goldens).map_err(|e| e.to_string())?;
    fs::write(folder.join("files.json"), list).map_err(|e| e.to_string())?;
    let url = served(&folder)?;
    ran(tools.script("conformance.mjs").arg(&url).args(ops)).map_err(|_| "some cases failed".to_owned())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(|_| ()).map_err(|e| format!("{}: {e}", from.display()))
}

/// The address of a server that runs as long as this program.
fn served(folder: &Path) -> Result<String> {
    let server = Server::new(folder, 0)?;
    let url = server.url();
    thread::spawn(move || server.run());
    Ok(url)
}

/// What drives a browser, and the browser.
struct Tools {
    playwright: PathBuf,
    chromium: PathBuf,
}

impl Tools {
    fn find() -> Result<Self> {
        let runs = |program: &str, argument: &str| {
            let status = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        if !runs("node", "--version") {
            return Err(
                "the test is driven by Node.js: install it (Debian, Ubuntu: `apt-get install nodejs npm`)".into()
            );
        }
        let named = env::var_os("CHROME").map(PathBuf::from);
        let known = ["chromium", "chromium-browser", "google-chrome"];
        let chromium = named
            .or_else(|| known.into_iter().find_map(in_path))
            .ok_or("no Chromium: install it (Debian: `apt-get install chromium`), or name a browser in CHROME")?;
        let folder = home().join("npm");
        let playwright = folder.join("node_modules/playwright-core/index.mjs");
        if !playwright.exists() {
            println!("fetching {PLAYWRIGHT} from npm");
            ran(Command::new("npm")
                .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
                .arg(&folder)
                .arg(PLAYWRIGHT))
            .map_err(|e| format!("{e}; `npm install --prefix {} {PLAYWRIGHT}` must succeed", folder.display()))?;
        }
        Ok(Self { playwright, chromium })
    }

    /// A script of this folder, which imports the first and starts the second argument.
    fn script(&self, name: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(root().join("xtask/web").join(name)).arg(&self.playwright).arg(&self.chromium);
        command
    }
}

/// A program of the search path.
fn in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}
