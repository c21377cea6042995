//! The wall clock as a shard knows it. Only expiry asks it, so that a clock that is wrong moves the moment of an expiry and nothing
//! else.

use quorate_ring::WallTime;

use crate::Time;

/// The last reading that the shard was given, and the monotonic time that has passed since. It never goes back: set back, it stands
/// still until the readings have come up again, so that within a process what has expired stays so.
#[derive(Debug)]
pub(super) struct WallClock {
    reading: WallTime,
    /// When it was read; unknown of the first one until the shard is told a time.
    read_at: Option<Time>,
    /// The largest it has shown.
    shown: WallTime,
}

impl WallClock {
    /// A clock that shows this until it is told a time.
    pub(super) const fn new(reading: WallTime) -> Self {
        Self { reading, read_at: None, shown: reading }
    }

    /// Takes a reading.
    pub(super) fn handle_reading(&mut self, now: Time, reading: WallTime) {
        (self.reading, self.read_at) = (reading, Some(now));
    }

    /// Goes on to this time, and shows what it is then.
    pub(super) fn advance(&mut self, now: Time) -> WallTime {
        let passed = now.since(*self.read_at.get_or_insert(now));
        self.shown = self.shown.max(self.reading + passed);
        self.shown
    }

    /// What it shows.
    pub(super) const fn shown(&self) -> WallTime {
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000;

    #[test]
    fn it_goes_on_between_two_readings_and_never_back() {
        let (at, wall) = (Time::from_micros, WallTime::from_millis);
        let mut clock = WallClock::new(wall(1_000));
        assert_eq!(clock.advance(at(70 * MILLI)), wall(1_000), "the first time it is told");
        assert_eq!(clock.advance(at(90 * MILLI)), wall(1_020));
        clock.handle_reading(at(100 * MILLI), wall(5_000));
        assert_eq!((clock.shown(), clock.advance(at(100 * MILLI))), (wall(1_020), wall(5_000)));
        clock.handle_reading(at(200 * MILLI), wall(4_000));
        assert_eq!(clock.advance(at(300 * MILLI)), wall(5_000), "it was set back, and stands still");
        assert_eq!(clock.advance(at(1_300 * MILLI)), wall(5_100));
        assert_eq!(clock.advance(at(1_200 * MILLI)), wall(5_100));
    }
}
