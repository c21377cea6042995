//! What is asked of a cluster, and how often: the core workloads of YCSB ("Benchmarking cloud serving systems with YCSB", Cooper et al., SoCC
//! 2010), or those of a file in YCSB's format.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use clap::ValueEnum;
use quorate_ring::limits::{SCAN_ITEMS_MAX, VALUE_BYTES_MAX};
use rand::{Rng, RngExt};

use super::choosing::Distribution;
use crate::cli::exit::Failure;
use crate::cli::human;

/// One thing that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Read,
    Update,
    Insert,
    Scan,
    ReadModifyWrite,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [Self::Read, Self::Update, Self::Insert, Self::Scan, Self::ReadModifyWrite];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Update => "update",
            Self::Insert => "insert",
            Self::Scan => "scan",
            Self::ReadModifyWrite => "read-modify-write",
        }
    }
}

/// What is asked, and how often.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Workload {
    /// As it was named.
    pub(super) name: String,
    /// Of each kind, which part of all. Their sum is 1.
    shares: [f64; Kind::ALL.len()],
    pub(super) distribution: Distribution,
    /// Most records of a scan; how many it is, is drawn evenly.
    pub(super) scan_max: u32,
    /// How many records there are at the start.
    pub(super) records: u64,
    /// How large each is.
    pub(super) value_bytes: usize,
}

impl Workload {
    fn new(name: &str, shares: [f64; Kind::ALL.len()], distribution: Distribution) -> Self {
        Self { name: name.to_owned(), shares, distribution, scan_max: 100, records: 100_000, value_bytes: 1_000 }
    }

    /// A to f, or the file of this name.
    ///
    /// # Errors
    /// If the file cannot be read, or which of its lines is wrong.
    pub(super) fn named(name: &str) -> Result<Self, Failure> {
        use Distribution::{Latest, Zipfian};
        let (shares, distribution) = match name.to_ascii_lowercase().as_str() {
            "a" => ([0.5, 0.5, 0.0, 0.0, 0.0], Zipfian),
            "b" => ([0.95, 0.05, 0.0, 0.0, 0.0], Zipfian),
            "c" => ([1.0, 0.0, 0.0, 0.0, 0.0], Zipfian),
            "d" => ([0.95, 0.0, 0.05, 0.0, 0.0], Latest),
            "e" => ([0.0, 0.0, 0.05, 0.95, 0.0], Zipfian),
            "f" => ([0.5, 0.0, 0.0, 0.0, 0.5], Zipfian),
            _ => return Self::read(Path::new(name)),
        };
        Ok(Self::new(&name.to_ascii_lowercase(), shares, distribution))
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::file("read", path, &error)
                .help("a workload is a, b, c, d, e or f of YCSB, or a file in YCSB's format")
        })?;
        Self::parse(&path.display().to_string(), &text).map_err(Failure::invalid)
    }

    /// Reads a file in YCSB's format: `name=value` in each line, and comments that begin with `#`.
    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut workload = Self::new(name, [0.0; Kind::ALL.len()], Distribution::Uniform);
        let (mut fields, mut field_bytes) = (10_usize, 100_usize);
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |problem: String| format!("{name}:{number}: {problem}");
            let (key, value) =
                line.split_once('=').ok_or_else(|| wrong(format!("expected name=value, found {line:?}")))?;
            let (key, value) = (key.trim(), value.trim());
            let share = |kind: Kind| share(key, value).map(|share| (kind as usize, share)).map_err(wrong);
            match key {
                "readproportion" => set(&mut workload.shares, share(Kind::Read)?),
                "updateproportion" => set(&mut workload.shares, share(Kind::Update)?),
                "insertproportion" => set(&mut workload.shares, share(Kind::Insert)?),
                "scanproportion" => set(&mut workload.shares, share(Kind::Scan)?),
                "readmodifywriteproportion" => set(&mut workload.shares, share(Kind::ReadModifyWrite)?),
                "requestdistribution" => {
                    let known = || format!("{key} is uniform, zipfian or latest, not {value:?}");
                    workload.distribution = Distribution::from_str(value, true).map_err(|_| wrong(known()))?;
                }
                "recordcount" => workload.records = within(key, value, 1, u64::from(u32::MAX)).map_err(wrong)?,
                "maxscanlength" => workload.scan_max = within(key, value, 1, SCAN_ITEMS_MAX as u32).map_err(wrong)?,
                "fieldcount" => fields = within(key, value, 1, VALUE_BYTES_MAX).map_err(wrong)?,
                "fieldlength" => field_bytes = within(key, value, 1, VALUE_BYTES_MAX).map_err(wrong)?,
                // What these say is the same here whatever they say, or comes from the command line.
                "workload"
                | "operationcount"
                | "readallfields"
                | "writeallfields"
                | "insertorder"
                | "table"
                | "scanlengthdistribution" => {}
                _ => return Err(wrong(format!("{key:?} is no setting of a workload that is known"))),
            }
        }
        workload.value_bytes = fields.saturating_mul(field_bytes);
        if VALUE_BYTES_MAX < workload.value_bytes {
            return Err(format!(
                "{name}: {fields} fields of {field_bytes} bytes are more than a value may have, {VALUE_BYTES_MAX}"
            ));
        }
        let sum: f64 = workload.shares.iter().sum();
        if (sum - 1.0).abs() > 1e-6 {
            return Err(format!(
                "{name}: the proportions of reads, updates, inserts, scans and read-modify-writes are {sum} together, not 1"
            ));
        }
        Ok(workload)
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        format!(
            "workload {}: {} of {} records of {} bytes, {}",
            self.name,
            self.describe_kinds(),
            human::count(self.records),
            human::count(self.value_bytes as u64),
            format!("{:?}", self.distribution).to_lowercase()
        )
    }

    /// What is asked, in words.
    pub(super) fn describe_kinds(&self) -> String {
        let kinds = self.kinds().map(|(kind, share)| format!("{:.0} % {}", share * 100.0, kind.name()));
        kinds.collect::<Vec<_>>().join(", ")
    }

    /// What is asked next.
    pub(super) fn draw(&self, random: &mut impl Rng) -> Kind {
        let mut chance: f64 = random.random();
        for (kind, share) in Kind::ALL.into_iter().zip(self.shares) {
            if chance < share {
                return kind;
            }
            chance -= share;
        }
        // What is left is what rounding has left.
        self.kinds().last().expect("the shares are 1 together").0
    }

    /// What is asked at all, and which part of all that is.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (Kind, f64)> {
        Kind::ALL.into_iter().zip(self.shares).filter(|(_, share)| 0.0 < *share)
    }
}

fn set(shares: &mut [f64], (kind, share): (usize, f64)) {
    shares[kind] = share;
}

fn share(key: &str, value: &str) -> Result<f64, String> {
    let share = value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("{key} is a number from 0 to 1, not {value:?}"))
}

fn within<T: FromStr + PartialOrd + std::fmt::Display>(key: &str, value: &str, least: T, most: T) -> Result<T, String> {
    let number = value.parse().ok().filter(|number| least <= *number && *number <= most);
    number.ok_or_else(|| format!("{key} is a number from {least} to {most}, not {value:?}"))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;

    #[test]
    fn each_core_workload_is_drawn_as_it_says() {
        for name in ["a", "B", "c", "d", "e", "f"] {
            let workload = Workload::named(name).expect("it is known");
            assert_eq!(workload.kinds().map(|(_, share)| share).sum::<f64>(), 1.0);
            let mut random = ChaCha8Rng::seed_from_u64(7);
            let draws: Vec<Kind> = (0..10_000).map(|_| workload.draw(&mut random)).collect();
            for kind in Kind::ALL {
                let share = workload.kinds().find(|(known, _)| *known == kind).map_or(0.0, |(_, share)| share);
                let drawn = draws.iter().filter(|drawn| **drawn == kind).count() as f64 / 10_000.0;
                assert!((drawn - share).abs() < 0.02, "{name}: {} is drawn {drawn}, not {share}", kind.name());
            }
        }
    }

    #[test]
    fn a_file_of_ycsb_is_read() {
        let text = "# Yahoo! Cloud System Benchmark\n\nrecordcount=1000\noperationcount=1000\nworkload=site.ycsb.workloads.CoreWorkload\n\
                    readallfields=true\nreadproportion=0.75\nupdateproportion=0.25\nscanproportion=0\nrequestdistribution=latest\n\
                    fieldcount=2\nfieldlength=32\n";
        let workload = Workload::parse("w", text).expect("it is right");
        assert_eq!(workload.kinds().collect::<Vec<_>>(), [(Kind::Read, 0.75), (Kind::Update, 0.25)]);
        assert_eq!((workload.records, workload.value_bytes, workload.distribution), (1_000, 64, Distribution::Latest));
    }

    #[test]
    fn a_bad_line_is_named() {
        let problem = |text: &str| Workload::parse("w", text).expect_err("it is wrong");
        assert_eq!(problem("# x\nreadproportion"), "w:2: expected name=value, found \"readproportion\"");
        assert_eq!(problem("readproportion=2"), "w:1: readproportion is a number from 0 to 1, not \"2\"");
        assert_eq!(problem("\nmaxscanlength=0"), "w:2: maxscanlength is a number from 1 to 1024, not \"0\"");
        assert_eq!(
            problem("requestdistribution=hot"),
            "w:1: requestdistribution is uniform, zipfian or latest, not \"hot\""
        );
        assert_eq!(problem("colour=red"), "w:1: \"colour\" is no setting of a workload that is known");
        assert!(problem("readproportion=0.5").ends_with("are 0.5 together, not 1"));
        assert!(problem("readproportion=1\nfieldlength=1048576").contains("more than a value may have"));
    }
}
