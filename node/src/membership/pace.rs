//! How often the failure detector asks, and how long it waits.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use crate::limits::{SWIM_DATAGRAM_BYTES_MAX, SWIM_GOSSIP_TARGETS, SWIM_TRANSMISSIONS};

/// How many times a probe period changes are passed on beside probes, while there are any.
const GOSSIPS_A_PERIOD: u32 = 5;
/// After how many probe periods a node asks some other one whom it knows. The answer is the one datagram that is longer in a larger cluster: at
/// most [`SWIM_DATAGRAM_BYTES_MAX`], ten bytes a period.
const ANNOUNCE_PERIODS: u32 = 120;
/// After how many probe periods a node calls one that is down, or, while it hears nobody, any that it knows of. So the sides of a
/// partition find each other again.
const REUNION_PERIODS: u32 = 10;
/// After how many probe periods without any datagram a node is deaf. In each it should hear an answer, and the probe of somebody.
const DEAF_PERIODS: u32 = 2;
/// Most nodes that are asked to probe in one's stead.
const INDIRECT_PROBES_MAX: usize = 16;
/// Longest of the times: a failure that is found only after minutes steers nothing.
const TIME_MAX: Duration = Duration::from_secs(600);

/// The times of the failure detector. The nodes of a cluster may differ in them, but what one hears of another's failures then comes at the
/// other's pace.
///
/// ```
/// use quorate_node::membership::Pace;
/// use std::time::Duration;
///
/// // Twice as quick as the default, at twice the traffic.
/// let usual = Pace::default();
/// let quick = Pace::new(usual.probe_period() / 2, usual.round_trip() / 2, usual.indirect_probes(), Duration::from_secs(2))?;
/// assert_eq!(quick.probe_period(), Duration::from_millis(500));
/// # Ok::<(), quorate_node::membership::InvalidPace>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    probe_period: Duration,
    round_trip: Duration,
    indirect_probes: NonZeroUsize,
    suspicion: Duration,
}

/// Why times were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPace {
    /// An indirect probe takes two round trips after the first was waited for in vain.
    #[error("a probe period of {probe_period:?} is not three round trips of {round_trip:?}")]
    PeriodTooShort {
        /// What was given.
        probe_period: Duration,
        /// What was given.
        round_trip: Duration,
    },
    /// A node that is suspected wrongly must have a chance to say so, and one that is deaf must notice before it declares others down.
    #[error("a suspicion of {suspicion:?} is shorter than {DEAF_PERIODS} probe periods of {probe_period:?}")]
    SuspicionTooShort {
        /// What was given.
        suspicion: Duration,
        /// What was given.
        probe_period: Duration,
    },
    /// A time is nothing, or longer than ten minutes.
    #[error("{time:?} is not within a millisecond and {TIME_MAX:?}")]
    OutOfRange {
        /// What was given.
        time: Duration,
    },
    /// Too many would be asked for each probe that fails.
    #[error("{indirect_probes} indirect probes are more than {INDIRECT_PROBES_MAX}")]
    TooManyIndirectProbes {
        /// What was given.
        indirect_probes: usize,
    },
}

impl Pace {
    /// These times; see the getters for what each does.
    ///
    /// # Errors
    /// [`InvalidPace`] with the relation that does not hold.
    pub const fn new(
        probe_period: Duration,
        round_trip: Duration,
        indirect_probes: NonZeroUsize,
        suspicion: Duration,
    ) -> Result<Self, InvalidPace> {
        if round_trip.as_millis() < 1 {
            return Err(InvalidPace::OutOfRange { time: round_trip });
        }
        if TIME_MAX.as_millis() < suspicion.as_millis() {
            return Err(InvalidPace::OutOfRange { time: suspicion });
        }
        if probe_period.as_micros() < 3 * round_trip.as_micros() {
            return Err(InvalidPace::PeriodTooShort { probe_period, round_trip });
        }
        if suspicion.as_micros() < probe_period.as_micros() * DEAF_PERIODS as u128 {
            return Err(InvalidPace::SuspicionTooShort { suspicion, probe_period });
        }
        if INDIRECT_PROBES_MAX < indirect_probes.get() {
            return Err(InvalidPace::TooManyIndirectProbes { indirect_probes: indirect_probes.get() });
        }
        Ok(Self { probe_period, round_trip, indirect_probes, suspicion })
    }

    /// How often a node probes another one, each in turn in a random order. A crash is noticed by somebody after about
    /// e / (e - 1) = 1.6 of it, whatever the size of the cluster (SWIM, section 3.1), and traffic is inverse to it.
    ///
    /// Default a second: as long as a peer may be silent on requests before it is taken to be away ([`crate::limits::SILENCE`]), at a few
    /// hundred bytes a second.
    pub const fn probe_period(&self) -> Duration {
        self.probe_period
    }

    /// How long the answer to a probe is waited for before others are asked to probe in one's stead. At most a third of the probe period,
    /// so that their answers come in time.
    ///
    /// Default 300 ms: above the round trip between any two continents, and below a third of the default period.
    pub const fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// How many others are asked to probe in one's stead. Each is a further way around a lost message or a broken link.
    ///
    /// Default 3: at 5 % loss a probe over four messages fails once in five, so all three and the direct one fail once in 1,600; more
    /// would cost more where nodes are truly dead.
    pub const fn indirect_probes(&self) -> NonZeroUsize {
        self.indirect_probes
    }

    /// How long a node stays suspected before it is declared down, and so the time that it has to hear of it and to say that it is
    /// alive. At least two probe periods.
    ///
    /// Default 5 s: several times what word takes to go around a thousand nodes and back, and longer than a usual pause of a process.
    pub const fn suspicion(&self) -> Duration {
        self.suspicion
    }

    /// How long a node that hears nobody waits before it calls another one.
    pub(super) const fn reunion(&self) -> Duration {
        self.probe_period.saturating_mul(REUNION_PERIODS)
    }

    /// How long a node hears nobody before it takes itself to be deaf.
    pub(super) const fn deafness(&self) -> Duration {
        self.probe_period.saturating_mul(DEAF_PERIODS)
    }

    /// The same, in the library's words.
    pub(super) fn settings(&self) -> foca::Config {
        let targets = NonZeroUsize::new(SWIM_GOSSIP_TARGETS).expect("some");
        let every = |frequency, num_members| Some(foca::PeriodicParams { frequency, num_members });
        foca::Config {
            probe_period: self.probe_period,
            probe_rtt: self.round_trip,
            num_indirect_probes: self.indirect_probes,
            max_transmissions: NonZeroU8::new(SWIM_TRANSMISSIONS).expect("some"),
            suspect_to_down_after: self.suspicion,
            // A node is kept for good: there are no more than `SWIM_NODES_MAX`, and who is forgotten could be brought back by a late message.
            remove_down_after: None,
            max_packet_size: NonZeroUsize::new(SWIM_DATAGRAM_BYTES_MAX).expect("some"),
            // Who is taken to be down is told so, and comes back under another name.
            notify_down_members: true,
            periodic_announce: every(self.probe_period * ANNOUNCE_PERIODS, NonZeroUsize::MIN),
            periodic_announce_to_down_members: every(self.reunion(), NonZeroUsize::MIN),
            periodic_gossip: every(self.probe_period / GOSSIPS_A_PERIOD, targets),
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        const DEFAULT: Result<Pace, InvalidPace> = Pace::new(
            Duration::from_secs(1),
            Duration::from_millis(300),
            NonZeroUsize::new(3).expect("some"),
            Duration::from_secs(5),
        );
        const { assert!(DEFAULT.is_ok(), "the defaults are allowed") };
        DEFAULT.expect("asserted above")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(period: u64, round_trip: u64, indirect: usize, suspicion: u64) -> Result<Pace, InvalidPace> {
        let millis = Duration::from_millis;
        let indirect = NonZeroUsize::new(indirect).expect("some");
        Pace::new(millis(period), millis(round_trip), indirect, millis(suspicion))
    }

    #[test]
    fn times_that_cannot_work_are_refused_with_the_reason() {
        assert!(matches!(pace(1_000, 400, 3, 5_000), Err(InvalidPace::PeriodTooShort { .. })));
        assert!(matches!(pace(1_000, 300, 3, 1_999), Err(InvalidPace::SuspicionTooShort { .. })));
        assert!(matches!(pace(1_000, 0, 3, 5_000), Err(InvalidPace::OutOfRange { .. })));
        assert!(matches!(pace(1_000, 300, 3, 700_000), Err(InvalidPace::OutOfRange { .. })));
        assert!(matches!(pace(1_000, 300, 17, 5_000), Err(InvalidPace::TooManyIndirectProbes { .. })));
        assert_eq!(pace(1_000, 300, 3, 5_000), Ok(Pace::default()));
    }
}
