//! `capacity`: how many nodes a load needs, or what a cluster carries and how fast it answers.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use quorate_ring::Quorum;
use quorate_simulation::capacity::calibrate::{self, Measurement};
use quorate_simulation::capacity::times::ServiceTimes;
use quorate_simulation::capacity::{
    Arrivals, CLIENTS_MAX, CORES_MAX, Distribution, Extent, Hardware, Impossible, Load, Machines, NODES_MAX,
    Prediction, RATE_MAX, RECORDS_MAX, VALUE_BYTES, predict, search,
};
use quorate_simulation::plan::span::Span;
use serde::Serialize;

use crate::input::{self, WrongInput};
use crate::screen::{self, BAD, DIM, GOOD, HEADING, Styled};

/// Says how many nodes a load needs, or what a cluster carries and how fast it answers
///
/// The production core runs in virtual time; what each thing costs of a processor is a profile, measured with `quorate bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quorate-sim capacity --rate 50000 --p99 5ms                  # how many nodes for that
  quorate-sim capacity --nodes 5 --rate 50000                  # how fast five answer that, and how busy they are
  quorate-sim capacity --nodes 5 --p99 5ms                     # the highest rate of five
  quorate-sim capacity --nodes 3 --machine-cores 2 --clients 64  # a bench on one machine
  quorate bench --start 3 --workload c --json > gets.json
  quorate-sim capacity --machine-cores 2 --calibrate 1000=gets.json --calibrate 1000=puts.json > mine.toml
  quorate-sim capacity --machine-cores 2 --profile mine.toml --compare 1000=mixed.json

Exit status: 0 if the load is carried, 1 if the nodes that were named do not carry it, 2 if what was asked for makes no sense or is impossible.")]
pub(crate) struct Capacity {
    /// Requests a second, whether or not others were answered
    #[arg(long, value_name = "NUMBER", value_parser = rate, conflicts_with = "clients")]
    rate: Option<f64>,
    /// So many clients, each of which waits for its answer
    #[arg(long, value_name = "NUMBER", value_parser = RangedU64ValueParser::<u32>::new().range(1..=CLIENTS_MAX.into()), conflicts_with = "p99")]
    clients: Option<u32>,
    /// 99 of 100 requests are to be answered by then
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    p99: Option<Span>,
    /// The part of the requests that read, from 0 to 1; the others replace a value
    #[arg(long, value_name = "PART", default_value = "0.5", value_parser = part)]
    reads: f64,
    /// Bytes of each value
    #[arg(long, value_name = "NUMBER", default_value = "1000", value_parser = RangedU64ValueParser::<u64>::new().range(1..=VALUE_BYTES as u64))]
    value_bytes: u64,
    /// How many records there are
    #[arg(long, value_name = "NUMBER", default_value = "10000", value_parser = RangedU64ValueParser::<u32>::new().range(1..=RECORDS_MAX.into()))]
    records: u32,
    /// Which of them are asked for
    #[arg(long, value_enum, default_value_t = Choice::Zipfian)]
    distribution: Choice,
    /// How requests with a rate come
    #[arg(long, value_enum, default_value_t = Come::Poisson)]
    arrivals: Come,
    /// How many nodes [default: as few as do, from N on; where measurements are given, 3]
    #[arg(long, value_name = "NUMBER", value_parser = RangedU64ValueParser::<u32>::new().range(1..=NODES_MAX.into()))]
    nodes: Option<u32>,
    /// How many replicas a key has
    #[arg(long, default_value = "3")]
    n: u8,
    /// How many replicas must answer a read
    #[arg(long, default_value = "2")]
    r: u8,
    /// How many replicas must have stored a write
    #[arg(long, default_value = "2")]
    w: u8,
    /// Cores of each node's machine
    #[arg(long, value_name = "NUMBER", default_value = "2", value_parser = cores, conflicts_with = "machine_cores")]
    cores: NonZeroUsize,
    /// All nodes and the client are on one machine with so many cores
    #[arg(long, value_name = "NUMBER", value_parser = cores)]
    machine_cores: Option<NonZeroUsize>,
    /// Shards of each node [default: as many as cores, at most 4; with --machine-cores 1]
    #[arg(long, value_name = "NUMBER", value_parser = RangedU64ValueParser::<u8>::new().range(1..=64))]
    shards: Option<u8>,
    /// How long a message is on its way between machines [default: the profile's; with --machine-cores 20us]
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    network: Option<Span>,
    /// What everything costs: a profile as --calibrate prints it [default: one of this store's own bench]
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Print a profile with which this comes out: bytes of each value, and what `quorate bench --json` printed; may be given again
    #[arg(long, value_name = "BYTES=FILE", conflicts_with_all = ["rate", "clients", "p99", "compare", "json"])]
    calibrate: Vec<String>,
    /// Compare predictions with measurements, given as for --calibrate
    #[arg(long, value_name = "BYTES=FILE", conflicts_with_all = ["rate", "clients", "p99"])]
    compare: Vec<String>,
    /// How many requests are simulated for a prediction
    #[arg(long, value_name = "NUMBER", default_value = "20000", value_parser = RangedU64ValueParser::<u32>::new().range(100..=10_000_000))]
    requests: u32,
    /// The seed: the same one gives the same answers
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = input::seed)]
    seed: u64,
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
}

/// How requests with a rate come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Come {
    /// At random, as from many people
    Poisson,
    /// At equal distances, as `quorate bench --rate` asks
    Steady,
}

/// Which records are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// All equally often
    Uniform,
    /// By Zipf's law: a few of them most of the time, as YCSB does
    Zipfian,
}

/// The answer.
#[derive(Serialize)]
struct Answer {
    nodes: u32,
    /// Whether the load is carried with the p99 that was asked for, or at all.
    carried: bool,
    /// The highest rate that keeps the p99.
    #[serde(skip_serializing_if = "Option::is_none")]
    highest_rate: Option<f64>,
    #[serde(flatten)]
    prediction: Prediction,
}

/// A measurement beside its prediction.
#[derive(Serialize)]
struct Compared {
    name: String,
    rate: [f64; 2],
    cpu_micros_nodes: [f64; 2],
    cpu_micros_client: [f64; 2],
    p50_micros: [f64; 2],
    p99_micros: [f64; 2],
    utilisation: f64,
}

impl Capacity {
    /// Says it.
    pub(crate) fn run(self) -> Result<ExitCode, WrongInput> {
        let hardware = self.hardware()?;
        if !self.calibrate.is_empty() {
            return self.calibrate(hardware);
        }
        if !self.compare.is_empty() {
            return self.compare(&hardware);
        }
        let answer = self.answer(&hardware)?;
        if self.json {
            screen::line(serde_json::to_string(&answer).expect("numbers can be written"));
        } else {
            self.tell(&hardware, &answer);
        }
        Ok(if answer.carried { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn hardware(&self) -> Result<Hardware, WrongInput> {
        let quorum = Quorum::new(self.n, self.r, self.w).map_err(other)?;
        let times = match &self.profile {
            Some(path) => ServiceTimes::read(&read(path)?)
                .map_err(|error| WrongInput::Other(format!("{}: {error}", path.display())))?,
            None => ServiceTimes::default(),
        };
        let cores = u8::try_from(self.cores.get()).unwrap_or(SHARDS_DEFAULT_MAX);
        let (machines, shards, network) = match self.machine_cores {
            Some(cores) => (Machines::Shared(cores), 1, LOOPBACK),
            None => (Machines::Own(self.cores), cores.min(SHARDS_DEFAULT_MAX), times.network),
        };
        let shards = self.shards.unwrap_or(shards);
        let network = self.network.unwrap_or(network);
        Ok(Hardware { nodes: self.nodes.unwrap_or(self.n.into()), quorum, machines, shards, network, times })
    }

    fn load(&self) -> Option<Load> {
        let arrivals = match (self.rate, self.clients.and_then(NonZeroU32::new), self.arrivals) {
            (Some(rate), _, Come::Poisson) => Arrivals::Poisson(rate),
            (Some(rate), _, Come::Steady) => Arrivals::Steady(rate),
            (None, Some(clients), _) => Arrivals::Closed(clients),
            (None, None, _) => return None,
        };
        Some(self.load_of(arrivals))
    }

    fn load_of(&self, arrivals: Arrivals) -> Load {
        let value_bytes = usize::try_from(self.value_bytes).expect("its range was checked");
        let distribution = match self.distribution {
            Choice::Uniform => Distribution::Uniform,
            Choice::Zipfian => Distribution::Zipfian,
        };
        Load { arrivals, reads: self.reads, value_bytes, records: self.records, distribution }
    }

    const fn extent(&self) -> Extent {
        Extent { seed: self.seed, requests: self.requests }
    }

    fn answer(&self, hardware: &Hardware) -> Result<Answer, WrongInput> {
        let extent = self.extent();
        let highest = |load: &Load, p99| search::highest_rate(hardware, load, p99, extent);
        let (nodes, (highest_rate, prediction), carried) = match (self.nodes, self.load(), self.p99) {
            (_, None, None) => return Err(other("expected --rate, --clients or --p99: what is asked of the cluster")),
            (None, None, Some(_)) => return Err(other("expected --rate or --nodes beside --p99")),
            (Some(nodes), None, Some(p99)) => {
                let (rate, prediction) = highest(&self.load_of(Arrivals::Poisson(1.0)), p99).map_err(other)?;
                (nodes, (Some(rate), prediction), true)
            }
            (Some(nodes), Some(load), Some(p99)) => {
                let prediction = predict(hardware, &load, extent).map_err(other)?;
                let rate = match highest(&load, p99) {
                    Ok((rate, _)) => Some(rate),
                    Err(Impossible::TooSoon { .. }) => None,
                    Err(error) => return Err(other(error)),
                };
                let carried = prediction.carries(p99);
                (nodes, (rate, prediction), carried)
            }
            (_, Some(load), None) => {
                let prediction = predict(hardware, &load, extent).map_err(other)?;
                let carried = !prediction.saturated;
                (hardware.nodes, (None, prediction), carried)
            }
            (None, Some(load), Some(p99)) => {
                let (nodes, prediction) = search::least_nodes(hardware, &load, p99, extent).map_err(other)?;
                (nodes, (None, prediction), true)
            }
        };
        Ok(Answer { nodes, carried, highest_rate, prediction })
    }

    fn tell(&self, hardware: &Hardware, answer: &Answer) {
        let Answer { nodes, prediction, .. } = answer;
        screen::line(Styled(DIM, self.described(hardware, *nodes)));
        let verdict = match (self.p99, answer.carried) {
            (Some(p99), true) if self.nodes.is_none() => format!("{nodes} nodes carry it with a p99 of {p99}"),
            (Some(p99), true) => format!("carried with a p99 of {p99}"),
            (Some(p99), false) => format!("not carried with a p99 of {p99}"),
            (None, true) => "carried".to_owned(),
            (None, false) => "not carried: what waits grows without end".to_owned(),
        };
        screen::line(format_args!("\n{}\n", Styled(if answer.carried { GOOD } else { BAD }, verdict)));
        let row = |name: &str, value: String| screen::line(format_args!("  {name:<22}{value}"));
        row("requests a second", whole(prediction.rate));
        if 0.0 < prediction.failed {
            row("failed", percent(prediction.failed));
        }
        let latency = prediction.latency_micros;
        row("latency", format!("p50 {}, p99 {}, p99.9 {}", time(latency.p50), time(latency.p99), time(latency.p999)));
        let busiest = format!("{} of the cores of the busiest machine", percent(prediction.utilisation_max));
        row("busy", format!("{}, {busiest}", percent(prediction.utilisation)));
        row("busiest thread", percent(prediction.thread_utilisation_max));
        row("in a node's queues", format!("{:.1} packets and events, as a mean", prediction.queue));
        let cpu = format!(
            "{:.1} us of all nodes, {:.1} us of the client",
            prediction.cpu_micros_nodes, prediction.cpu_micros_client
        );
        row("CPU of a request", cpu);
        match (answer.highest_rate, self.p99) {
            (Some(rate), Some(p99)) => {
                screen::line(format_args!("\nhighest rate with a p99 of {p99}: {} a second", whole(rate)))
            }
            (None, Some(p99)) if self.nodes.is_some() => {
                screen::line(format_args!("\nno rate has a p99 of {p99} on these nodes"))
            }
            _ => {}
        }
    }

    fn described(&self, hardware: &Hardware, nodes: u32) -> String {
        let machines = match hardware.machines {
            Machines::Own(cores) => format!("{nodes} nodes of {cores} cores each"),
            Machines::Shared(cores) => format!("{nodes} nodes and the client on one machine of {cores} cores"),
        };
        let load = match (self.rate, self.clients) {
            (Some(rate), _) => format!("{} requests a second", whole(rate)),
            (None, Some(clients)) => format!("{clients} clients, each waits for its answer"),
            (None, None) => "as much as can be".to_owned(),
        };
        let (shards, network, quorum) = (hardware.shards, hardware.network, hardware.quorum);
        let (n, r, w) = (quorum.n(), quorum.r(), quorum.w());
        format!(
            "{machines}, {shards} shards each, messages take {network}, N = {n}, R = {r}, W = {w}\n\
             {load}, {:.0} % of them reads, of values of {} bytes, seed {}",
            self.reads * 100.0,
            self.value_bytes,
            self.seed
        )
    }

    fn calibrate(&self, mut hardware: Hardware) -> Result<ExitCode, WrongInput> {
        let measured = self.measurements(&self.calibrate)?;
        hardware.times = calibrate::calibrate(&hardware, &measured, self.extent()).map_err(other)?;
        for compared in self.compared(&hardware, &measured)? {
            let Compared { name, cpu_micros_nodes: nodes, cpu_micros_client: client, .. } = compared;
            screen::line(format_args!(
                "# {name}: CPU of nodes {:.1} us measured, {:.1} with this; of the client {:.1} and {:.1}",
                nodes[0], nodes[1], client[0], client[1]
            ));
        }
        screen::line(hardware.times.write().trim_end());
        Ok(ExitCode::SUCCESS)
    }

    fn compare(&self, hardware: &Hardware) -> Result<ExitCode, WrongInput> {
        let compared = self.compared(hardware, &self.measurements(&self.compare)?)?;
        if self.json {
            screen::line(serde_json::to_string(&compared).expect("numbers can be written"));
            return Ok(ExitCode::SUCCESS);
        }
        let heading = ["", "rate", "CPU of nodes", "of client", "p50", "p99", "busy"];
        let [name, rate, nodes, client, p50, p99, busy] = heading;
        screen::line(Styled(
            HEADING,
            format!("{name:<30}{rate:>22}{nodes:>22}{client:>22}{p50:>22}{p99:>22}{busy:>8}"),
        ));
        for row in &compared {
            let pair = |[measured, predicted]: [f64; 2]| {
                format!("{measured:.0} / {predicted:.0} ({:+.0} %)", (predicted / measured - 1.0) * 100.0)
            };
            let [rate, nodes, client, p50, p99] =
                [row.rate, row.cpu_micros_nodes, row.cpu_micros_client, row.p50_micros, row.p99_micros].map(pair);
            let busy = percent(row.utilisation);
            screen::line(format_args!("{:<30}{rate:>22}{nodes:>22}{client:>22}{p50:>22}{p99:>22}{busy:>8}", row.name));
        }
        screen::line(Styled(DIM, "measured / predicted; rates a second, all else in microseconds"));
        Ok(ExitCode::SUCCESS)
    }

    fn measurements(&self, arguments: &[String]) -> Result<Vec<Measurement>, WrongInput> {
        let load = self.load_of(Arrivals::Poisson(1.0));
        let one = |argument: &String| {
            let (bytes, path) = argument.split_once('=').unwrap_or_default();
            let bytes = bytes.parse().ok().filter(|bytes| (1..=VALUE_BYTES).contains(bytes));
            let value_bytes = bytes.ok_or_else(|| {
                other(format!("{argument:?}: expected bytes of each value and a file, such as 1000=gets.json"))
            })?;
            let measured = Measurement::read(path, Load { value_bytes, ..load }, &read(Path::new(path))?);
            measured.map_err(|error| WrongInput::Other(format!("{path}: {error}")))
        };
        arguments.iter().map(one).collect()
    }

    fn compared(&self, hardware: &Hardware, measured: &[Measurement]) -> Result<Vec<Compared>, WrongInput> {
        let predictions = calibrate::predictions(hardware, measured, self.extent()).map_err(other)?;
        let compared = measured.iter().zip(predictions).map(|(measured, predicted)| Compared {
            name: measured.name.clone(),
            rate: [measured.rate, predicted.rate],
            cpu_micros_nodes: [measured.cpu_micros_nodes, predicted.cpu_micros_nodes],
            cpu_micros_client: [measured.cpu_micros_client, predicted.cpu_micros_client],
            p50_micros: [measured.p50_micros, predicted.latency_micros.p50].map(|micros| micros as f64),
            p99_micros: [measured.p99_micros, predicted.latency_micros.p99].map(|micros| micros as f64),
            utilisation: predicted.utilisation,
        });
        Ok(compared.collect())
    }
}

/// Most shards that a node starts without being asked for.
const SHARDS_DEFAULT_MAX: u8 = 4;
/// From one process to another.
const LOOPBACK: Span = Span::from_micros(20);

fn read(path: &Path) -> Result<String, WrongInput> {
    std::fs::read_to_string(path).map_err(|source| WrongInput::File { doing: "read", path: path.to_owned(), source })
}

fn other(error: impl ToString) -> WrongInput {
    WrongInput::Other(error.to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.1..=RATE_MAX).contains(rate));
    rate.ok_or_else(|| format!("expected requests a second, 0.1 to {RATE_MAX}"))
}

fn part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "expected a part from 0 to 1, such as 0.9".to_owned())
}

fn cores(text: &str) -> Result<NonZeroUsize, String> {
    let cores = text.parse().ok().filter(|cores: &NonZeroUsize| cores.get() <= CORES_MAX);
    cores.ok_or_else(|| format!("expected how many cores, 1 to {CORES_MAX}"))
}

fn whole(number: f64) -> String {
    screen::number(number.round() as u64)
}

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}
