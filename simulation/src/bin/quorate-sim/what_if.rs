//! `what-if`: how stale, how divergent, how available, and how fast a cluster would be.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use quorate_simulation::builder::Disturbance;
use quorate_simulation::delay::{Delay, Shape};
use quorate_simulation::plan::span::Span;
use quorate_simulation::workload::Mix;
use quorate_simulation::{Cluster, Report, latency};

use crate::input::{self, WrongInput};
use crate::screen::{self, BAD, DIM, GOOD, Styled};

/// Says how a cluster would do.
#[derive(Debug, Args)]
pub(crate) struct WhatIf {
    /// How many nodes there are
    #[arg(long, value_name = "COUNT", default_value = "5", value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000))]
    nodes: u32,
    /// How many replicas a key has
    #[arg(long, default_value = "3")]
    n: u8,
    /// How many replicas must answer a read
    #[arg(long, default_value = "2")]
    r: u8,
    /// How many replicas must have stored a write
    #[arg(long, default_value = "2")]
    w: u8,
    /// Messages take as long as in this file: one delay in each line, such as 1.3ms
    #[arg(long, value_name = "FILE", conflicts_with = "latency")]
    trace: Option<PathBuf>,
    /// Messages take so long as a median, with a long tail
    #[arg(long, value_name = "TIME", default_value = "500us", value_parser = input::time)]
    latency: Span,
    /// How many keys the clients share
    #[arg(long, value_name = "COUNT", default_value = "100", value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000_000))]
    keys: u32,
    /// How many clients there are
    #[arg(long, value_name = "COUNT", default_value = "10", value_parser = RangedU64ValueParser::<u32>::new().range(1..=10_000))]
    clients: u32,
    /// The share of a client's steps that only read, from 0 to 1; the others read, merge, and write
    #[arg(long, value_name = "SHARE", default_value = "0.9", value_parser = per_mille)]
    reads: u64,
    /// How long a client pauses between its steps, as a median
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = input::time)]
    think: Span,
    /// How long a client waits for an answer
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = input::time)]
    timeout: Span,
    /// How many seconds of virtual time
    #[arg(long, value_name = "T", default_value = "30", value_parser = input::seconds)]
    seconds: Duration,
    /// What goes wrong again and again: partitions, crashes, pauses, slow-nodes
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = str::parse::<Disturbance>)]
    faults: Vec<Disturbance>,
    /// How often each of these happens: once in so long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = input::time)]
    every: Span,
    /// How long each of these lasts
    #[arg(long = "for", value_name = "TIME", default_value = "1s", value_parser = input::time)]
    lasting: Span,
    /// The seed: the same one gives the same answers
    #[arg(long, value_name = "N", default_value = "1", value_parser = input::seed)]
    seed: u64,
}

impl WhatIf {
    /// Says it.
    pub(crate) fn run(self) -> Result<ExitCode, WrongInput> {
        let latency = self.delay()?;
        let mix = Mix::default().keys(self.keys).reads_per_mille(self.reads);
        let mix = mix.think(self.think.duration()).within(self.timeout.duration());
        let mut cluster = Cluster::of(self.nodes).n(self.n).r(self.r).w(self.w).latency(latency.clone());
        cluster = cluster.clients(self.clients).lasting(self.seconds).workload(mix);
        for fault in &self.faults {
            cluster = cluster.disturb(*fault, self.every.duration(), self.lasting.duration());
        }
        let report = cluster.run(self.seed).map_err(|error| WrongInput::Other(error.to_string()))?;
        screen::line(Styled(DIM, self.described(&latency, &report)));
        screen::line(format_args!("\n{}", report.insight));
        match report.verdict() {
            Ok(()) => {
                screen::line(format_args!("{} that was promised held", Styled(GOOD, "all")));
                Ok(ExitCode::SUCCESS)
            }
            Err(wrong) => {
                screen::line(format_args!("{} {wrong}", Styled(BAD, "broken:")));
                Ok(ExitCode::FAILURE)
            }
        }
    }

    fn delay(&self) -> Result<Delay, WrongInput> {
        match &self.trace {
            Some(path) => trace(path),
            None => Ok(Delay { shape: Shape::LogNormal, median: self.latency }),
        }
    }

    fn described<W>(&self, latency: &Delay, report: &Report<W>) -> String {
        let Self { nodes, n, r, w, clients, keys, seed, .. } = self;
        let strict = if *n < r + w { "every read sees every write" } else { "reads may miss writes" };
        let faults = match report.plan.faults.iter().filter(|fault| fault.fault.client().is_none()).count() {
            0 => "no faults".to_owned(),
            count => format!("{count} faults"),
        };
        let (median, seconds) = (latency.median, self.seconds.as_secs_f64());
        format!(
            "{nodes} nodes, N = {n}, R = {r}, W = {w} ({strict}), messages take {median} as a median\n\
             {clients} clients of {keys} keys for {seconds} s of virtual time with {faults}, seed {seed}"
        )
    }
}

fn trace(path: &Path) -> Result<Delay, WrongInput> {
    let wrong = |doing| move |source| WrongInput::File { doing, path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(wrong("read the trace"))?;
    latency::measured(&text).map_err(|error| WrongInput::Other(format!("{}: {error}", path.display())))
}

/// Reads a share, as thousandths.
fn per_mille(text: &str) -> Result<u64, String> {
    let share = text.parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
    share
        .map(|share| (share * 1_000.0).round() as u64)
        .ok_or_else(|| "expected a share from 0 to 1, such as 0.9".to_owned())
}
