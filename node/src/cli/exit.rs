//! How a command ends: its exit code, which scripts can rely on, and for failures what went wrong and what to do.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

/// What the exit codes mean, for `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done (also: output cut short because its reader went away, as with `quorate dump | head`)
  1  nothing is stored under the key (get)
  2  wrong usage or invalid input; nothing changed (load: lines before a bad one may be stored)
  3  the cluster cannot be reached, or too few replicas answered in time
  4  the outcome of a write is unknown: it may or may not be stored
  5  failure on this machine: files, certificates, sockets, storage; a demo that was cut short or broke a promise
  130  interrupted (load, dump, wait, bench): what was done until then is told";

/// What kind of failure it was. Each has its exit code, and its name in `--json` output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureKind {
    /// Nothing is stored under the key.
    NotFound,
    /// Wrong usage or invalid input.
    Invalid,
    /// The cluster cannot be reached, or too few replicas answered.
    Unavailable,
    /// A write may or may not be stored.
    OutcomeUnknown,
    /// Files, certificates, sockets or storage of this machine.
    Local,
    /// Ctrl-C or SIGTERM, before it was done.
    Interrupted,
}

impl FailureKind {
    /// The process's exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::NotFound => 1,
            Self::Invalid => 2,
            Self::Unavailable => 3,
            Self::OutcomeUnknown => 4,
            Self::Local => 5,
            // As shells tell of a process that Ctrl-C has ended.
            Self::Interrupted => 130,
        }
    }
}

/// Why a command failed, and what the person at the keyboard can do.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    /// The kind, which decides the exit code.
    pub(crate) kind: FailureKind,
    /// What went wrong: lower case, no full stop.
    pub(crate) message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
}

impl Failure {
    /// A failure of this kind.
    pub(crate) fn new(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), help: None }
    }

    /// Wrong usage or input.
    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Invalid, message)
    }

    /// Something of this machine.
    pub(crate) fn local(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Local, message)
    }

    /// A file of this machine.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::local(format!("cannot {doing} {}: {error}", path.display()))
    }

    /// Adds what to do about it.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Tells standard error, as text or as one JSON object, and gives the exit code.
    pub(crate) fn report(&self, format: Format) -> ExitCode {
        match format {
            Format::Human => {
                let red = anstyle::AnsiColor::Red.on_default().bold();
                let cyan = anstyle::AnsiColor::Cyan.on_default().bold();
                anstream::eprintln!("{red}error:{red:#} {}", self.message);
                if let Some(help) = &self.help {
                    anstream::eprintln!("{cyan}help:{cyan:#} {help}");
                }
            }
            Format::Json => {
                let report = serde_json::json!({ "error": self });
                anstream::eprintln!("{report}");
            }
        }
        ExitCode::from(self.kind.code())
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people. May change from release to release.
    Human,
    /// For programs. Fields are added, never renamed or removed.
    Json,
}
