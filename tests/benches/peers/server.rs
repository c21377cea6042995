//! A server that ends with this program, however that ends.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// One process.
pub(crate) struct Server(Child);

impl Server {
    /// Starts a program in a directory that it has for itself.
    pub(crate) fn start(program: &str, directory: &Path, arguments: &[&str]) -> Self {
        fs::create_dir_all(directory).expect("a temporary directory can be written");
        // The kernel kills it when this program is gone.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]).args(arguments);
        // What goes wrong it tells on its standard error; what else it has to say is of no use here.
        let started = command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Self(started.expect("setpriv (util-linux) starts"))
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are free ports");
    listener.local_addr().expect("it is bound").port()
}

/// What a program prints about its version; nothing, and a word of how to get it, if it is not there.
pub(crate) fn version(program: &str, package: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output();
    if output.is_err() {
        println!("| {program} is missing: apt-get install {package} | | | | | |");
    }
    let text = String::from_utf8_lossy(&output.ok()?.stdout).into_owned();
    // Of Redis, what follows is how it was built.
    let first = text.lines().next().unwrap_or_default();
    Some(first.split_once(" sha=").map_or(first, |(version, _)| version).to_owned())
}
