//! The command line: one module for each command, and what they share.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the border of I/O")]

mod bench;
mod cert;
mod cluster;
mod connect;
mod demo;
mod dump;
mod exit;
mod get;
mod human;
mod interrupt;
mod json_lines;
mod keys;
mod load;
mod local;
mod logging;
mod node;
mod output;
mod progress;
mod put;
mod ring_table;
mod scan;
mod status;
mod table;
mod wait;

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
    Demo(demo::DemoArguments),
    Bench(bench::BenchArguments),
    Node(node::NodeArguments),
    Cert(cert::CertArguments),
    Get(get::GetArguments),
    Put(put::PutArguments),
    Delete(put::DeleteArguments),
    Scan(scan::ScanArguments),
    Load(load::LoadArguments),
    Dump(dump::DumpArguments),
    Status(status::StatusArguments),
    Ring(ring_table::RingArguments),
    Wait(wait::WaitArguments),
    Cluster(cluster::ClusterArguments),
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
            Self::Demo(_) | Self::Node(_) => Format::Human,
            Self::Bench(arguments) => arguments.connect.format(),
            Self::Cert(arguments) => arguments.format(),
            Self::Get(arguments) => arguments.connect.format(),
            Self::Put(arguments) => arguments.connect.format(),
            Self::Delete(arguments) => arguments.connect.format(),
            Self::Scan(arguments) => arguments.connect.format(),
            Self::Load(arguments) => arguments.connect.format(),
            Self::Dump(arguments) => arguments.connect.format(),
            Self::Status(arguments) => arguments.connect.format(),
            Self::Ring(arguments) => arguments.connect.format(),
            Self::Wait(arguments) => arguments.connect.format(),
            Self::Cluster(arguments) => arguments.format(),
        }
    }

    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Node(arguments) => arguments.run(),
            Self::Cert(arguments) => arguments.run(),
            Self::Demo(arguments) => block_on(arguments.run()),
            Self::Bench(arguments) => block_on(arguments.run()),
            Self::Get(arguments) => block_on(arguments.run()),
            Self::Put(arguments) => block_on(arguments.run()),
            Self::Delete(arguments) => block_on(arguments.run()),
            Self::Scan(arguments) => block_on(arguments.run()),
            Self::Load(arguments) => block_on(arguments.run()),
            Self::Dump(arguments) => block_on(arguments.run()),
            Self::Status(arguments) => block_on(arguments.run()),
            Self::Ring(arguments) => block_on(arguments.run()),
            Self::Wait(arguments) => block_on(arguments.run()),
            Self::Cluster(arguments) => block_on(arguments.run()),
        }
    }
}

/// Runs a client's command on this thread: requests wait for the network, not for cores.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(format!("cannot start: {error}")))?;
    let result = runtime.block_on(command);
    // A reader that is still waiting for standard input must not keep the process from ending.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    // What clap asserts itself only in a debug build.
    #[test]
    fn no_two_arguments_of_a_command_have_one_id() {
        for command in Arguments::command().get_subcommands() {
            let mut ids: Vec<_> = command.get_arguments().map(|argument| argument.get_id().as_str()).collect();
            ids.sort_unstable();
            assert!(ids.is_sorted_by(|one, next| one != next), "{}: {ids:?}", command.get_name());
        }
    }
}
