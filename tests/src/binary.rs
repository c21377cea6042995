//! The `quorate` binary: where it is, and running its commands to their end.

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// A command that takes longer has hung.
const COMMAND_BOUND: Duration = Duration::from_secs(120);

/// The binary's path: what `QUORATE_BINARY` names in the environment, for one that was built otherwise; or else beside the test's own program in
/// the build's directory.
///
/// # Panics
/// If it was not built.
pub fn path() -> PathBuf {
    if let Some(path) = std::env::var_os("QUORATE_BINARY").map(PathBuf::from) {
        assert!(path.is_file(), "QUORATE_BINARY names no file: {}", path.display());
        return path;
    }
    built("quorate").expect("it is built first, with `make build` or `cargo build --release -p quorate-node`")
}

/// The path of something in the build's directory, which is where the test's own program is; `None` if it is not there.
pub fn built(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().expect("a program knows its path");
    // target/release/deps/it-0123 or target/release/cluster
    own.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// A command line of the binary.
#[derive(Debug)]
pub struct Quorate {
    command: Command,
    input: Vec<u8>,
}

/// A command that is running; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    input: Option<JoinHandle<()>>,
    line: String,
}

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// The exit code; 128 and the signal's number if a signal ended it, as shells have it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    line: String,
}

impl Quorate {
    /// `quorate` with these arguments. Settings of the person's own environment, which are meant for another cluster, are left out.
    pub fn new<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(path());
        command.args(arguments.into_iter().map(Into::into));
        remove_environment(&mut command);
        Self { command, input: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.command.arg(argument.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads on standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Runs it in this directory.
    #[must_use]
    pub fn directory(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it cannot be started or does not end.
    pub fn run(self) -> Run {
        self.start().finish()
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(mut self) -> Running {
        let line = format!("{:?}", self.command);
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        let (mut stdin, bytes) = (child.stdin.take().expect("piped"), self.input);
        // It may end without reading everything.
        let input = thread::spawn(move || drop(stdin.write_all(&bytes)));
        let stdout = read_all(child.stdout.take().expect("piped"));
        let stderr = read_all(child.stderr.take().expect("piped"));
        Running { child, stdout: Some(stdout), stderr: Some(stderr), input: Some(input), line }
    }

    /// Runs it with standard output closed after the first line, as by `| head -1`, and gives that line and what was on standard
    /// error.
    ///
    /// # Panics
    /// If it cannot be started or does not end.
    pub fn run_into_head(self) -> Run {
        let mut shell = Command::new("bash");
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        let quoted: Vec<_> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
        shell.arg("-c").arg(format!("set -o pipefail; {} | head -1", quoted.join(" ")));
        remove_environment(&mut shell);
        Self { command: shell, input: self.input }.run()
    }
}

pub(crate) fn remove_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QUORATE_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
}

impl Running {
    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// If the kernel does not say.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the kernel knows its children").is_none()
    }

    /// Presses Ctrl-C.
    ///
    /// # Panics
    /// If it cannot be signalled.
    pub fn interrupt(&self) {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process's id is above 0");
        kill_process(id, Signal::INT).expect("a child can be signalled");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end.
    pub fn finish(mut self) -> Run {
        let line = self.line.clone();
        let child = &mut self.child;
        let status = wait::until(&format!("{line} ends"), COMMAND_BOUND, || child.try_wait().expect("our child"));
        let text = |reader: Option<JoinHandle<Vec<u8>>>| {
            let bytes = reader.expect("taken once").join().expect("reading does not panic");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (stdout, stderr) = (text(self.stdout.take()), text(self.stderr.take()));
        self.input.take().expect("taken once").join().expect("writing does not panic");
        Run { code: code(status), stdout, stderr, line }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Run {
    /// Checks the exit code.
    ///
    /// # Panics
    /// If it is another, with everything that was printed.
    #[track_caller]
    pub fn ends_with(&self, code: i32) -> &Self {
        assert!(self.code == code, "expected exit code {code}\n{self}");
        self
    }

    /// Checks that standard error has all of these.
    ///
    /// # Panics
    /// If one is missing, with everything that was printed.
    #[track_caller]
    pub fn says(&self, phrases: &[&str]) -> &Self {
        for phrase in phrases {
            assert!(self.stderr.contains(phrase), "expected {phrase:?} on standard error\n{self}");
        }
        self
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = |text: &str| text.chars().take(4000).collect::<String>();
        let (line, code) = (&self.line, self.code);
        write!(f, "{line}\nended with {code}\nstdout: {}\nstderr: {}", cut(&self.stdout), cut(&self.stderr))
    }
}

/// A process's exit code, or 128 and the number of the signal that ended it.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn read_all(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until an error is what there is to show.
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}
