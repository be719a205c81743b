//! A compiler or a driver as a process of its own: what crashes or never ends there does not end this program.
//!
//! Its first line is `ready` and JSON. Then each line that it is given is answered by one: `ok SECONDS`, or `refused SECONDS MESSAGE`.
//! Seconds are of the CPU: those of the wall depend on what else the machine does.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

/// What became of one program or case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// CPU seconds.
    pub(crate) seconds: f64,
    /// Why it was refused, or what is wrong.
    pub(crate) fault: Option<String>,
}

impl Answer {
    /// What took no time.
    pub(crate) fn refused(why: &str) -> Self {
        Self { seconds: 0.0, fault: Some(why.to_owned()) }
    }
}

/// The longest that a process may take until it is ready, a wine prefix made included.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) struct Worker {
    make: Box<dyn Fn() -> Command + Send>,
    /// The longest that one answer may take.
    limit: Duration,
    /// Where its error output goes.
    log: PathBuf,
    running: Option<Running>,
    /// What it said of itself.
    pub(crate) greeting: Value,
}

struct Running {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Worker {
    /// Starts the process.
    pub(crate) fn start(
        make: impl Fn() -> Command + Send + 'static,
        limit: Duration,
        log: PathBuf,
    ) -> Result<Self, String> {
        let _ = fs::remove_file(&log);
        let mut worker = Self { make: Box::new(make), limit, log, running: None, greeting: Value::Null };
        worker.greeting = worker.run()?;
        Ok(worker)
    }

    fn run(&mut self) -> Result<Value, String> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(|e| format!("{}: {e}", self.log.display()))?;
        let mut command = (self.make)();
        let program = command.get_program().to_string_lossy().into_owned();
        // A group of its own: what the process starts ends with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("{program} cannot be run: {e}"))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{program} has no standard input or output"));
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                    break;
                }
            }
        });
        let mut running = Running { child, stdin, lines };
        // Drivers and interpreters may have said something before.
        loop {
            let line = running.lines.recv_timeout(PATIENCE);
            let line = line.map_err(|_| format!("{program} did not start: {}", self.last_words(&mut running)))?;
            if let Some(greeting) = line.strip_prefix("ready") {
                self.running = Some(running);
                return serde_json::from_str(greeting).map_err(|e| format!("{program} said ready{greeting}: {e}"));
            }
        }
    }

    /// Ends the process; the last line of its error output, or how it ended.
    fn last_words(&self, running: &mut Running) -> String {
        end(&mut running.child);
        let ended = running.child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        last.map_or(ended, |line| format!("{} (more in {})", line.trim(), self.log.display()))
    }

    /// The answer to one line. A process that ends or does not answer in time is started again for the next.
    pub(crate) fn ask(&mut self, line: &str) -> Answer {
        if self.running.is_none()
            && let Err(fault) = self.run()
        {
            return Answer::refused(&fault);
        }
        let Some(mut running) = self.running.take() else { return Answer::refused("does not run") };
        // A process that has ended is noticed below.
        let _ = writeln!(running.stdin, "{line}").and_then(|()| running.stdin.flush());
        match running.lines.recv_timeout(self.limit) {
            Ok(answer) => {
                self.running = Some(running);
                parse(&answer).unwrap_or_else(|| Answer::refused(&format!("an answer that is none: {answer}")))
            }
            Err(RecvTimeoutError::Timeout) => {
                self.last_words(&mut running);
                let seconds = self.limit.as_secs_f64();
                Answer { seconds, fault: Some(format!("not done within {seconds} s")) }
            }
            Err(RecvTimeoutError::Disconnected) => {
                Answer::refused(&format!("ended: {}", self.last_words(&mut running)))
            }
        }
    }
}

/// Ends a process, and on Unix its group.
fn end(child: &mut Child) {
    if cfg!(unix) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).stderr(Stdio::null()).status();
    }
    let _ = child.kill();
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            end(&mut running.child);
            let _ = running.child.wait();
        }
    }
}

fn parse(line: &str) -> Option<Answer> {
    let mut words = line.splitn(3, ' ');
    let fine = match words.next()? {
        "ok" => true,
        "refused" => false,
        _ => return None,
    };
    let seconds = words.next()?.parse().ok()?;
    let message = words.next().unwrap_or_default().trim();
    Some(Answer { seconds, fault: (!fine).then(|| message.to_owned()) })
}

/// An answer as one line.
pub(crate) fn line(answer: &Answer) -> String {
    match &answer.fault {
        None => format!("ok {:.4}", answer.seconds),
        Some(fault) => format!("refused {:.4} {}", answer.seconds, fault.replace(['\n', '\r'], " ")),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{Answer, Worker, line, parse};

    #[test]
    fn an_answer_is_one_line() {
        let answer = Answer { seconds: 0.25, fault: Some("no\nway".into()) };
        assert_eq!(line(&answer), "refused 0.2500 no way");
        assert_eq!(parse(&line(&answer)), Some(Answer { fault: Some("no way".into()), ..answer }));
        assert_eq!(parse("ok 1.5 "), Some(Answer { seconds: 1.5, fault: None }));
        assert_eq!(parse("error"), None);
    }

    /// `does`: a shell's commands for each line.
    fn shell(does: &'static str) -> Worker {
        let log = std::env::temp_dir().join(format!("deeploss-worker-{}-{}.log", std::process::id(), does.len()));
        let script = format!("echo 'ready {{}}'; while read line; do {does}; done");
        let make = move || {
            let mut command = Command::new("sh");
            command.args(["-c", &script]);
            command
        };
        Worker::start(make, Duration::from_millis(500), log).unwrap()
    }

    #[test]
    fn what_ends_or_hangs_is_a_fault_of_that_program_alone() {
        let mut worker = shell("case $line in end) exit 3;; hang) sleep 5;; *) echo ok 0.5;; esac");
        assert_eq!(worker.ask("a").fault, None);
        assert!(worker.ask("end").fault.unwrap().contains("ended"));
        assert_eq!(worker.ask("b").fault, None);
        assert!(worker.ask("hang").fault.unwrap().contains("not done"));
        assert_eq!(worker.ask("c"), Answer { seconds: 0.5, fault: None });
    }

    #[test]
    fn what_does_not_start_says_why() {
        let log = std::env::temp_dir().join(format!("deeploss-worker-{}.log", std::process::id()));
        let make = || {
            let mut command = Command::new("sh");
            command.args(["-c", "echo no driver >&2; exit 1"]);
            command
        };
        let fault = Worker::start(make, Duration::from_secs(1), log).err().unwrap();
        assert!(fault.contains("no driver"), "{fault}");
    }
}
