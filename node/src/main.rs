//! The `quorate` binary: storage node, client commands and demo in one.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
