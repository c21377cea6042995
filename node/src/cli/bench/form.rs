//! Which form a bench takes: what is typed, what it means, and which of it contradicts itself.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::curve::Destination;
use super::highest::Bound;
use super::run::Loop;
use super::shapes::scale;
use crate::cli::exit::Failure;
use crate::cli::human;

const CLIENTS: u32 = 64;
const WARM_UP: Duration = Duration::from_secs(2);
const P99: Duration = Duration::from_millis(10);
const SPIKE_TIMES: f64 = 4.0;
/// The first rate of a stress.
const STRESS_FIRST: f64 = 1_000.0;
const SOAK_INTERVAL: Duration = Duration::from_secs(10);

/// How load comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    /// The same all the time
    Steady,
    /// Only the loading is measured, at full speed
    Load,
    /// 1, 2, 4 and so on up to --clients clients, each of which waits for its answer
    Scale,
    /// --rate, then --times as much, then --rate again: and how long until latencies are back
    Spike,
    /// For a long time, told by --interval: and how latencies and memory drift
    Soak,
    /// Rates from --rate on that grow beyond what can be carried, then half of that: and how long until it is well
    Stress,
}

/// In which form it is measured.
#[derive(Debug, Args)]
pub(super) struct FormArguments {
    /// How load comes
    #[arg(long, value_enum, default_value_t = Shape::Steady)]
    shape: Shape,
    /// So many clients, each of which waits for its answer [default: 64]
    #[arg(long, value_name = "NUMBER", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: Option<u32>,
    /// So many requests a second, whether or not others were answered; latencies count from when each was to begin. At most 4096 are
    /// under way: what is due beyond that begins later
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    rate: Option<f64>,
    /// Search the highest rate that keeps --p99, to 5 %: at it hardly anything fails, and 99 % of it are reached. What is missed is tried once more
    #[arg(long, conflicts_with = "shape")]
    highest: bool,
    /// Search it, and draw how latencies grow from a tenth of it to a tenth more, as SVG
    #[arg(long, value_name = "FILE.svg", conflicts_with = "shape")]
    curve: Option<PathBuf>,
    /// What 99 of 100 requests must be faster than, with --highest and --curve [default: 10ms]
    #[arg(long, value_name = "TIME", value_parser = human::parse_duration, allow_hyphen_values = true)]
    p99: Option<Duration>,
    /// The rate of a spike, as so many times the rate before [default: 4]
    #[arg(long, value_name = "NUMBER", value_parser = times)]
    times: Option<f64>,
    /// How often a soak tells [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = human::parse_duration, allow_hyphen_values = true)]
    interval: Option<Duration>,
    /// For how long it is measured, or each step of it [default: 10s; each step 5s, of a spike 10s; a soak 1h]
    #[arg(long, value_name = "TIME", value_parser = human::parse_duration, allow_hyphen_values = true)]
    time: Option<Duration>,
    /// For how long it runs before, and before each step that is one for itself [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = human::parse_duration, allow_hyphen_values = true)]
    warm_up: Option<Duration>,
    /// The records are there already, from a bench with as many
    #[arg(long, conflicts_with = "start")]
    loaded: bool,
}

/// The form, and all that it needs.
pub(super) struct Form {
    pub(super) kind: Kind,
    /// For how long it is measured, or each step of it.
    pub(super) time: Duration,
    pub(super) warm_up: Duration,
    /// Whether the records are there already.
    pub(super) is_loaded: bool,
}

/// What is done.
pub(super) enum Kind {
    Steady(Loop),
    Load,
    Scale { most: u32 },
    Spike { rate: f64, times: f64 },
    Soak { how: Loop, interval: Duration },
    Stress { first: f64 },
    Highest(Bound),
    Curve(Bound, Destination),
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.1..=10_000_000.0).contains(rate));
    rate.ok_or_else(|| format!("a rate is a number of requests a second from 0.1 to 10000000, not {text}"))
}

fn times(text: &str) -> Result<f64, String> {
    let times = text.parse().ok().filter(|times| 1.0 < *times && *times <= 100.0);
    times.ok_or_else(|| format!("a spike is more than 1 and up to 100 times the rate before, not {text}"))
}

impl FormArguments {
    /// What it means.
    ///
    /// # Errors
    /// What contradicts what, what is missing, or that the curve's file cannot be written.
    pub(super) fn form(&self) -> Result<Form, Failure> {
        self.refuse_others()?;
        let bound = Bound { p99: self.p99.unwrap_or(P99) };
        let how = self.rate.map_or_else(|| Loop::Closed(self.clients.unwrap_or(CLIENTS)), Loop::Open);
        let (kind, seconds) = match self.shape {
            _ if self.curve.is_some() || self.highest => match &self.curve {
                Some(path) => (Kind::Curve(bound, Destination::prepare(path)?), 5),
                None => (Kind::Highest(bound), 5),
            },
            Shape::Steady => (Kind::Steady(how), 10),
            Shape::Load => (Kind::Load, 0),
            Shape::Scale => (Kind::Scale { most: self.clients.unwrap_or(CLIENTS) }, 5),
            Shape::Spike => {
                let rate = self.rate.ok_or_else(|| {
                    Failure::invalid("--shape spike needs the rate before and after the spike")
                        .help("give --rate: half of what the cluster can carry shows most; `--highest` finds that")
                })?;
                (Kind::Spike { rate, times: self.times.unwrap_or(SPIKE_TIMES) }, 10)
            }
            Shape::Soak => (Kind::Soak { how, interval: self.interval.unwrap_or(SOAK_INTERVAL) }, 3_600),
            Shape::Stress => (Kind::Stress { first: self.rate.unwrap_or(STRESS_FIRST) }, 5),
        };
        let time = self.time.unwrap_or(Duration::from_secs(seconds));
        if let Kind::Soak { interval, .. } = kind
            && time / 2 < interval
        {
            let (time, interval) = (human::duration(time), human::duration(interval));
            return Err(Failure::invalid(format!("a soak of {time} has no two intervals of {interval}"))
                .help("give a longer --time or a shorter --interval"));
        }
        Ok(Form { kind, time, warm_up: self.warm_up.unwrap_or(WARM_UP), is_loaded: self.loaded })
    }

    /// Refuses what the form has no use for.
    fn refuse_others(&self) -> Result<(), Failure> {
        let given = [
            ("--clients", self.clients.is_some()),
            ("--rate", self.rate.is_some()),
            ("--p99", self.p99.is_some()),
            ("--times", self.times.is_some()),
            ("--interval", self.interval.is_some()),
            ("--time", self.time.is_some()),
            ("--warm-up", self.warm_up.is_some()),
            ("--loaded", self.loaded),
        ];
        let (form, takes): (&str, &[&str]) = match self.shape {
            _ if self.curve.is_some() => ("--curve", &["--p99", "--time", "--warm-up", "--loaded"]),
            _ if self.highest => ("--highest", &["--p99", "--time", "--warm-up", "--loaded"]),
            Shape::Steady => ("--shape steady", &["--clients", "--rate", "--time", "--warm-up", "--loaded"]),
            Shape::Load => ("--shape load", &[]),
            Shape::Scale => ("--shape scale", &["--clients", "--time", "--warm-up", "--loaded"]),
            Shape::Spike => ("--shape spike", &["--rate", "--times", "--time", "--warm-up", "--loaded"]),
            Shape::Soak => ("--shape soak", &["--clients", "--rate", "--interval", "--time", "--warm-up", "--loaded"]),
            Shape::Stress => ("--shape stress", &["--rate", "--time", "--warm-up", "--loaded"]),
        };
        let Some((other, _)) = given.iter().find(|(option, is_given)| *is_given && !takes.contains(option)) else {
            return Ok(());
        };
        let takes = if takes.is_empty() { "none of these options".to_owned() } else { takes.join(", ") };
        Err(Failure::invalid(format!("{other} has no meaning with {form}")).help(format!("{form} takes {takes}")))
    }
}

impl Form {
    /// In words.
    pub(super) fn describe(&self) -> String {
        let per_second = |rate: f64| human::count(rate.round() as u64);
        let loop_of = |how: Loop| match how {
            Loop::Closed(clients) => format!("{} clients, each waits for its answer", human::count(clients.into())),
            Loop::Open(rate) => format!("{} requests a second", per_second(rate)),
        };
        let (time, warm_up) = (human::duration(self.time), human::duration(self.warm_up));
        let once = format!("for {time} after {warm_up} of warm-up");
        let each = format!("each for {time} after {warm_up} of warm-up");
        match &self.kind {
            Kind::Steady(how) => format!("{}, {once}", loop_of(*how)),
            Kind::Load => "loading alone, at full speed".to_owned(),
            Kind::Scale { most } => {
                let steps: Vec<String> = scale::steps(*most).map(|clients| human::count(clients.into())).collect();
                format!("{} clients, each waits for its answer; {each}", steps.join(", "))
            }
            Kind::Spike { rate, times } => format!(
                "{0} requests a second, {1}, and {0} again, each for {time}; {warm_up} of warm-up",
                per_second(*rate),
                per_second(rate * times)
            ),
            Kind::Soak { how, interval } => {
                format!("{}, {once}, told every {}", loop_of(*how), human::duration(*interval))
            }
            Kind::Stress { first } => format!(
                "from {} requests a second on, half as much again every {time}, until far more than can be carried; {warm_up} of warm-up",
                per_second(*first)
            ),
            Kind::Highest(bound) => {
                format!("searching the highest rate with a p99 below {}, {each}", human::duration(bound.p99))
            }
            Kind::Curve(bound, _) => format!(
                "searching the highest rate with a p99 below {}, then 10 to 110 % of it, {each}",
                human::duration(bound.p99)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        form: FormArguments,
        #[arg(long)]
        start: bool,
    }

    fn form(line: &str) -> Result<Form, Failure> {
        let typed = Typed::try_parse_from(std::iter::once("bench").chain(line.split_whitespace()));
        typed.unwrap_or_else(|error| panic!("{line}: {error}")).form.form()
    }

    #[test]
    fn every_shape_has_its_times_and_its_defaults() {
        let seconds = |line: &str| form(line).unwrap_or_else(|failure| panic!("{line}: {failure:?}")).time.as_secs();
        assert_eq!([seconds(""), seconds("--shape scale"), seconds("--shape soak")], [10, 5, 3_600]);
        assert_eq!(seconds("--highest --time 7s"), 7);
        assert!(matches!(form("").map(|form| form.kind), Ok(Kind::Steady(Loop::Closed(64)))));
        let spike = form("--shape spike --rate 10").map(|form| form.kind);
        assert!(matches!(spike, Ok(Kind::Spike { rate: 10.0, times: 4.0 })));
    }

    #[test]
    fn what_a_form_has_no_use_for_is_refused_with_what_it_takes() {
        let refused = |line: &str| match form(line) {
            Err(failure) => format!("{}; {}", failure.message, failure.help.unwrap_or_default()),
            Ok(_) => panic!("{line} is refused"),
        };
        assert!(refused("--shape load --time 3s").starts_with("--time has no meaning with --shape load"));
        assert!(refused("--shape scale --rate 3").contains("--shape scale takes --clients, --time"));
        assert!(refused("--highest --rate 3").starts_with("--rate has no meaning with --highest"));
        assert!(refused("--curve x.svg --clients 3").starts_with("--clients has no meaning with --curve"));
        assert!(refused("--p99 5ms").starts_with("--p99 has no meaning with --shape steady"));
        assert!(refused("--times 3 --rate 5").starts_with("--times has no meaning with --shape steady"));
        assert!(refused("--shape spike").contains("give --rate"));
        assert!(refused("--shape soak --time 10s").contains("has no two intervals of 10.0 s"));
    }

    #[test]
    fn every_form_is_told_in_words() {
        for line in ["--rate 5", "--shape load", "--shape scale --clients 5", "--highest", "--shape stress"] {
            assert!(!form(line).expect("it is right").describe().is_empty());
        }
        let scale = form("--shape scale --clients 5").expect("it is right").describe();
        assert!(scale.starts_with("1, 2, 4, 5 clients"), "{scale}");
    }
}
