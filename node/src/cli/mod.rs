//! The command line: one module for each command, and what they share.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the border of I/O")]

mod cert;
mod exit;
mod logging;
mod node;
mod output;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::exit::{EXIT_CODES, Failure, Format};

/// A leaderless, always-writable key-value store in the line of Amazon's Dynamo
///
/// `quorate demo` shows it at work on this machine in less than a minute.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Node(node::NodeArguments),
    Cert(cert::CertArguments),
}

/// Runs the command that was typed, and gives the process's exit code.
pub(crate) fn run() -> ExitCode {
    let command = Arguments::command().mut_subcommand("node", |node| node.after_long_help(node::after_help()));
    let arguments = match Arguments::from_arg_matches(&command.get_matches()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let format = arguments.command.format();
    match arguments.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(format),
    }
}

impl Command {
    fn format(&self) -> Format {
        match self {
            Self::Node(_) => Format::Human,
            Self::Cert(arguments) => arguments.format(),
        }
    }

    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Node(arguments) => arguments.run(),
            Self::Cert(arguments) => arguments.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
