//! The one place where the running node reads a clock for its core.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quorate_ring::WallTime;

use crate::Time;

/// The process's monotonic clock as the core's [`Time`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    /// Time 0 is now.
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time now.
    pub(super) fn now(self) -> Time {
        Time::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// What the machine's wall clock shows; the epoch if it is set to a time before it.
    pub(super) fn wall() -> WallTime {
        WallTime::default() + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// A core's time as the operating system's.
    pub(super) fn instant(self, time: Time) -> Instant {
        self.start + time.since(Time::default())
    }
}
