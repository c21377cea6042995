//! Service times: what each thing that a node and a client do costs of a processor, and how long a message is on its way.
//!
//! A profile is a TOML file. [`ServiceTimes::default`] is [`DEFAULT`], measured with `quorate bench` as the simulator's README says; another
//! is fitted to measurements by [`super::calibrate`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::span::Span;

/// The profile of this store's own bench.
pub const DEFAULT: &str = include_str!("default.toml");

/// What costs something of a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// A thread of a node goes to work: it wakes up, asks its sockets, and flushes.
    NodeWake,
    /// A packet that a node sends or receives: what it has for one peer or client at the end of a turn, with its system calls, encryption and
    /// acknowledgement.
    NodePacket,
    /// A KiB that a node sends or receives.
    NodeKib,
    /// A client's request, where it is received.
    Request,
    /// Its answer, where it is sent.
    Answer,
    /// A write for a replica, where it is sent and where it is received.
    Replicate,
    /// Its answer, at both ends.
    Replicated,
    /// A question to a replica, at both ends.
    Read,
    /// Its answer, at both ends.
    ReadAnswer,
    /// Any other message between nodes, at both ends.
    Other,
    /// A value read from the store, out of its cache.
    StoreRead,
    /// A turn that writes to the store, however much.
    StoreBatch,
    /// A write in it.
    StoreWrite,
    /// A KiB written, with its part of the compactions to come.
    StoreKib,
    /// The client's thread goes to work.
    ClientWake,
    /// A packet that it sends or receives.
    ClientPacket,
    /// A KiB that it sends or receives.
    ClientKib,
    /// A request of its own, from the beginning to the end.
    ClientOperation,
}

impl Cost {
    /// All of them, each at the place of its number.
    pub const ALL: [Self; 18] = [
        Self::NodeWake,
        Self::NodePacket,
        Self::NodeKib,
        Self::Request,
        Self::Answer,
        Self::Replicate,
        Self::Replicated,
        Self::Read,
        Self::ReadAnswer,
        Self::Other,
        Self::StoreRead,
        Self::StoreBatch,
        Self::StoreWrite,
        Self::StoreKib,
        Self::ClientWake,
        Self::ClientPacket,
        Self::ClientKib,
        Self::ClientOperation,
    ];

    /// Whether it is the client's, and not a node's.
    pub const fn is_clients(self) -> bool {
        matches!(self, Self::ClientWake | Self::ClientPacket | Self::ClientKib | Self::ClientOperation)
    }
}

/// What everything costs, or how often it was done.
pub type Amounts = [f64; Cost::ALL.len()];

/// How long things take.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceTimes {
    /// How long a message is on its way from one machine to another, beside what it costs their processors.
    pub network: Span,
    /// Microseconds of a processor for each [`Cost`].
    pub micros: Amounts,
}

/// A profile as its file has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    network: Span,
    micros: BTreeMap<Cost, f64>,
}

/// Why a text is no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProfile {
    /// It is no TOML, or has something else in it.
    #[error("{0}")]
    Toml(String),
    /// A cost is not said.
    #[error("micros.{0} is missing: microseconds of a processor")]
    Missing(String),
    /// A cost is no number of microseconds.
    #[error("micros.{name} is {value}: expected 0 to {MICROS_MAX} microseconds")]
    Cost {
        /// Which.
        name: String,
        /// What it is.
        value: String,
    },
    /// Messages take too long.
    #[error("network is {0}: expected at most {NETWORK_MAX}")]
    Network(Span),
}

/// The highest cost: a tenth of a second.
const MICROS_MAX: f64 = 100_000.0;
/// The longest way of a message.
pub const NETWORK_MAX: Span = Span::from_millis(1_000);

impl Default for ServiceTimes {
    fn default() -> Self {
        Self::read(DEFAULT).expect("a test reads it")
    }
}

impl ServiceTimes {
    /// Reads a profile.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(text: &str) -> Result<Self, InvalidProfile> {
        let file: File = toml::from_str(text).map_err(|error| InvalidProfile::Toml(error.to_string()))?;
        if NETWORK_MAX < file.network {
            return Err(InvalidProfile::Network(file.network));
        }
        let mut micros = Amounts::default();
        for cost in Cost::ALL {
            let value = *file.micros.get(&cost).ok_or_else(|| InvalidProfile::Missing(name(cost)))?;
            if !(0.0..=MICROS_MAX).contains(&value) {
                return Err(InvalidProfile::Cost { name: name(cost), value: value.to_string() });
            }
            micros[cost as usize] = value;
        }
        Ok(Self { network: file.network, micros })
    }

    /// The profile as a file.
    pub fn write(&self) -> String {
        let micros = Cost::ALL.into_iter().zip(self.micros.map(|cost| (cost * 100.0).round() / 100.0)).collect();
        toml::to_string(&File { network: self.network, micros }).expect("numbers and a length of time can be written")
    }

    /// What so much of everything costs, in microseconds: of the nodes, and of the client.
    pub fn of(&self, amounts: &Amounts) -> (f64, f64) {
        let mut sums = (0.0, 0.0);
        for cost in Cost::ALL {
            let sum = if cost.is_clients() { &mut sums.1 } else { &mut sums.0 };
            *sum += self.micros[cost as usize] * amounts[cost as usize];
        }
        sums
    }
}

fn name(cost: Cost) -> String {
    let name = serde_json::to_value(cost).expect("a name");
    name.as_str().expect("a name").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cost_has_its_place() {
        assert!(Cost::ALL.into_iter().enumerate().all(|(index, cost)| cost as usize == index));
    }

    #[test]
    fn a_profile_is_read_as_it_was_written() {
        let times = ServiceTimes::default();
        assert_eq!(ServiceTimes::read(&times.write()), Ok(times));
    }

    #[test]
    fn a_wrong_profile_is_refused_with_its_place() {
        let refused = |from: &str, to: &str| {
            let text = DEFAULT.lines().map(|line| if line.starts_with(from) { to } else { line });
            ServiceTimes::read(&text.collect::<Vec<_>>().join("\n")).expect_err("wrong").to_string()
        };
        assert!(refused("store-read", "").contains("micros.store-read is missing"));
        assert!(refused("store-read", "store-read = -1.0").contains("micros.store-read is -1"));
        assert!(refused("store-read", "store-read = nan").contains("micros.store-read is NaN"));
        assert!(refused("store-read", "shop-read = 1.0").contains("unknown variant `shop-read`"));
        assert!(refused("network", "network = \"2s\"").contains("network is 2s"));
        assert!(refused("network", "network = 2").contains("expected a string"));
    }
}
