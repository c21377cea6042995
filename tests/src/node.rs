//! One node: its files, and its process when it runs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::binary::{self, code};
use crate::{Quorate, wait};

/// Lines of a node's log that a failed test shows.
const LOG_LINES_SHOWN: usize = 60;

/// A member of a cluster, running or not.
#[derive(Debug)]
pub struct Node {
    number: u32,
    address: SocketAddr,
    directory: PathBuf,
    process: Option<Child>,
    /// What the next start is told beside its configuration.
    flags: Vec<String>,
}

/// A node that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The line it printed.
    pub line: String,
    /// The incarnation it told.
    pub incarnation: u64,
    /// From the start of the process until the line.
    pub time: Duration,
}

/// A process that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// What this run of it logged, with the error it ended with.
    pub log: String,
}

impl Node {
    pub(crate) fn new(number: u32, address: SocketAddr, directory: &Path) -> Self {
        Self { number, address, directory: directory.to_owned(), process: None, flags: Vec::new() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.file("data")
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.directory.join(format!("n{}.toml", self.number))
    }

    /// Flags of the starts from now on.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    }

    /// Changes its configuration file.
    ///
    /// # Panics
    /// If the text to be replaced is not in it.
    pub fn edit_config(&self, old: &str, new: &str) {
        let text = fs::read_to_string(self.config()).expect("the cluster wrote it");
        assert!(text.contains(old), "{old:?} is not in\n{text}");
        fs::write(self.config(), text.replace(old, new)).expect("the temporary directory can be written");
    }

    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// If it does not, with its log.
    pub fn start(&mut self) -> Ready {
        match self.try_start() {
            Ok(ready) => ready,
            Err(ended) => panic!("n{} ended with {} instead of serving:\n{}", self.number, ended.code, ended.log),
        }
    }

    /// Starts it and waits until it serves or has ended.
    ///
    /// # Errors
    /// How it ended.
    ///
    /// # Panics
    /// If it runs already, or does neither in time.
    pub fn try_start(&mut self) -> Result<Ready, Ended> {
        let begun = Instant::now();
        let line = self.spawn();
        let what = format!("n{} serves or ends", self.number);
        let told = wait::until(&what, wait::BOUND, || match line.try_recv() {
            Ok(line) => Some(Some(line)),
            Err(TryRecvError::Disconnected) => Some(None),
            Err(TryRecvError::Empty) => None,
        });
        let Some(line) = told else { return Err(self.wait_ended()) };
        let number = line.rsplit(' ').next().unwrap_or_default();
        let incarnation = u64::from_str_radix(number, 16);
        let incarnation = incarnation.unwrap_or_else(|_| panic!("no incarnation at the end of {line:?}"));
        Ok(Ready { line, incarnation, time: begun.elapsed() })
    }

    fn spawn(&mut self) -> Receiver<String> {
        assert!(self.process.is_none(), "n{} runs already", self.number);
        let log = File::options().create(true).append(true).open(self.log_file());
        let start = self.log().len();
        fs::write(self.file("log-start"), start.to_string()).expect("the temporary directory can be written");
        let mut command = Command::new(binary::path());
        binary::remove_environment(&mut command);
        // The end of its standard input, which comes with the end of this process however it dies, stops the node.
        command.arg("node").arg("--config").arg(self.config()).arg("--stop-with-stdin").args(&self.flags);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.expect("the temporary directory can be written"));
        let mut process = command.spawn().expect("the binary can be started");
        let line = first_line(process.stdout.take().expect("piped"));
        self.process = Some(process);
        line
    }

    /// Kills it with SIGKILL, as a crash would.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().and_then(|()| process.wait()).expect("a child can be killed");
    }

    /// Asks it with SIGTERM to stop, and waits until it has.
    ///
    /// # Panics
    /// If it does not run, or does not stop.
    pub fn stop(&mut self) -> Ended {
        self.signal(Signal::TERM);
        self.wait_ended()
    }

    /// Stops its threads where they are, with SIGSTOP: to others it is silent, and it does not know.
    ///
    /// # Panics
    /// If it does not run.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Node::pause`].
    ///
    /// # Panics
    /// If it does not run.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until its process has ended.
    ///
    /// # Panics
    /// If it does not run, or does not end.
    pub fn wait_ended(&mut self) -> Ended {
        let process = self.process.as_mut().expect("it runs");
        let what = format!("n{} ends", self.number);
        let status = wait::until(&what, wait::BOUND, || process.try_wait().expect("our child"));
        self.process = None;
        Ended { code: code(status), log: self.log_of_run() }
    }

    /// Whether its process runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// Its process's id.
    ///
    /// # Panics
    /// If it does not run.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Removes everything it stored.
    ///
    /// # Panics
    /// If it runs.
    pub fn wipe(&self) {
        assert!(self.process.is_none(), "n{} still runs", self.number);
        fs::remove_dir_all(self.data()).expect("it has stored something");
    }

    /// Copies what it stored to another place, as a backup would.
    ///
    /// # Panics
    /// If it runs, or the copy fails.
    pub fn copy_data(&self, to: &Path) {
        assert!(self.process.is_none(), "n{} still runs", self.number);
        copy(&self.data(), to);
    }

    /// Puts a copy in place of what it stored.
    ///
    /// # Panics
    /// If it runs, or the copy fails.
    pub fn restore_data(&self, from: &Path) {
        self.wipe();
        copy(from, &self.data());
    }

    /// Flips a bit in the middle of its store's log, as a disk that rots would.
    ///
    /// # Panics
    /// If it runs, or has no log.
    pub fn damage_store_log(&self) {
        assert!(self.process.is_none(), "n{} still runs", self.number);
        let files = fs::read_dir(self.data().join("store")).expect("it has stored something");
        let paths = files.map(|file| file.expect("a directory can be read").path());
        let logs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        let log =
            logs.max_by_key(|path| fs::metadata(path).map_or(0, |metadata| metadata.len())).expect("it has a log");
        let mut bytes = fs::read(&log).expect("it can be read");
        let middle = bytes.len() / 2;
        *bytes.get_mut(middle).expect("the log is not empty") ^= 1;
        fs::write(&log, bytes).expect("it can be written");
    }

    /// Everything it has logged, over all its runs.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// What its present or last run has logged.
    pub fn log_of_run(&self) -> String {
        let start = fs::read_to_string(self.file("log-start")).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        self.log().split_off(start)
    }

    pub(crate) fn show_log(&self) {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        eprintln!("--- end of the log of n{} ---\n{}", self.number, shown.join("\n"));
    }

    /// A command line of the binary that runs this node's configuration as another process.
    pub fn another_process(&self) -> Quorate {
        Quorate::new(["node", "--config"]).arg(self.config())
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process_id()).ok().and_then(Pid::from_raw).expect("a process's id is above 0");
        kill_process(id, signal).expect("a child can be signalled");
    }

    fn log_file(&self) -> PathBuf {
        self.file("log")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("n{}.{name}", self.number))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Both fail only if it has ended. SIGKILL ends a paused process too.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The first line of a process's output; the rest is read and dropped, so that the process never waits for a reader.
fn first_line(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(output).lines();
        if let Some(Ok(line)) = lines.next() {
            // Whoever waited for it may have given up.
            let _ = sender.send(line);
        }
        drop(sender);
        lines.for_each(drop);
    });
    receiver
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp is there");
    assert!(copied.success(), "cannot copy {} to {}", from.display(), to.display());
}
