//! Logs on standard error, for people or for machines.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line of text for people
    Text,
    /// A JSON object a line
    Json,
}

/// What is logged, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArguments {
    /// What to log: error, warn, info, debug or trace, or by module as in "info,quorate_node::coordinator=debug"
    #[arg(long, value_name = "LEVEL", env = "QUORATE_LOG", default_value = "info", value_parser = filter)]
    log: String,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", env = "QUORATE_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

impl LogArguments {
    /// Starts logging, for the rest of the process.
    pub(crate) fn install(&self) {
        let filter = EnvFilter::new(&self.log);
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        let started = match self.log_format {
            LogFormat::Text => subscriber.with_ansi(io::stderr().is_terminal()).try_init(),
            LogFormat::Json => subscriber.json().try_init(),
        };
        started.expect("logging is started once in a process");
    }
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
