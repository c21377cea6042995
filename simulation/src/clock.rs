//! A machine's clocks: a monotonic one that starts anywhere and drifts, and a wall clock that jumps.
//!
//! The core is told the monotonic time and must not compare it with another machine's. Of the wall clock it is told a reading now and
//! then, for expiry only, which has to bear all that [`LocalClock::jump`] can do.

use quorate_node::Time;
use quorate_ring::WallTime;

/// The clocks of one machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LocalClock {
    /// A moment of the run, and what the monotonic clock showed then.
    from: (Time, Time),
    /// How much too fast the monotonic clock runs since, in millionths.
    drift_ppm: i32,
    /// What the monotonic clock showed at the start of the run.
    started: Time,
    /// How far the wall clock is ahead of the time since then, in milliseconds.
    wall_ahead_millis: i64,
}

const MILLION: i128 = 1_000_000;
/// What wall clocks that are right show at the start of a run, in milliseconds.
const STARTED_MILLIS: i64 = 1_700_000_000_000;

impl LocalClock {
    /// Clocks whose monotonic one shows this at the start of the run.
    pub(crate) fn starting_at(time: Time) -> Self {
        Self { from: (Time::default(), time), started: time, ..Self::default() }
    }

    /// What the monotonic clock shows at a moment of the run.
    pub(crate) fn at(&self, now: Time) -> Time {
        let (moment, shown) = self.from;
        let passed = i128::from(now.as_micros()) - i128::from(moment.as_micros());
        let passed = passed * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        shifted(shown, passed)
    }

    /// The first moment of the run at which the monotonic clock shows this or later.
    pub(crate) fn moment_of(&self, time: Time) -> Time {
        let (moment, shown) = self.from;
        let to_pass = i128::from(time.as_micros()) - i128::from(shown.as_micros());
        let rate = MILLION + i128::from(self.drift_ppm);
        shifted(moment, (to_pass * MILLION + rate - 1).div_euclid(rate))
    }

    /// From now on the monotonic clock runs too fast by so many millionths.
    pub(crate) fn drift(&mut self, now: Time, ppm: i32) {
        self.from = (now, self.at(now));
        self.drift_ppm = ppm;
    }

    /// The wall clock jumps.
    pub(crate) fn jump(&mut self, millis: i64) {
        self.wall_ahead_millis += millis;
    }

    /// What the wall clock shows at a moment of the run. It drifts as the monotonic one does.
    pub(crate) fn wall_at(&self, now: Time) -> WallTime {
        let passed = i64::try_from(self.at(now).since(self.started).as_millis()).unwrap_or(i64::MAX);
        let shown = STARTED_MILLIS.saturating_add(passed).saturating_add(self.wall_ahead_millis);
        WallTime::from_millis(u64::try_from(shown).unwrap_or_default())
    }

    /// How far the wall clock is ahead of the true time, in milliseconds.
    pub(crate) fn wall_ahead_millis(&self, now: Time) -> i64 {
        millis(self.wall_at(now)) - millis(true_wall(now))
    }

    /// The wall clock is set.
    pub(crate) fn set_wall(&mut self, now: Time, wall: WallTime) {
        self.wall_ahead_millis += millis(wall) - millis(self.wall_at(now));
    }
}

/// What a wall clock that is right shows at a moment of the run.
pub(crate) fn true_wall(now: Time) -> WallTime {
    LocalClock::default().wall_at(now)
}

fn millis(wall: WallTime) -> i64 {
    i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)
}

fn shifted(time: Time, micros: i128) -> Time {
    let shifted = i128::from(time.as_micros()) + micros;
    Time::from_micros(u64::try_from(shifted.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_drifts_jumps_and_is_set() {
        let moment = Time::from_micros(10_000_000);
        let mut clock = LocalClock::starting_at(Time::from_micros(5_000_000));
        assert_eq!((clock.wall_at(moment), clock.wall_ahead_millis(moment)), (true_wall(moment), 0));
        clock.drift(Time::default(), 200_000);
        assert_eq!(clock.wall_ahead_millis(moment), 2_000);
        clock.jump(-3_600_000);
        assert_eq!(clock.wall_ahead_millis(moment), -3_598_000);
        clock.set_wall(moment, true_wall(moment));
        assert_eq!(clock.wall_ahead_millis(moment), 0);
    }

    #[test]
    fn a_drifting_clock_shows_each_time_at_the_moment_it_says() {
        let mut clock = LocalClock::starting_at(Time::from_micros(5_000_000));
        for (moment, ppm) in [(10, 200_000), (5_000, -200_000), (90_000, 0), (1_000_000, 500)] {
            clock.drift(Time::from_micros(moment), ppm);
            let begun = clock.at(Time::from_micros(moment));
            for passed in [0, 1, 7, 999, 12_345] {
                let time = Time::from_micros(begun.as_micros() + passed);
                let at = clock.moment_of(time);
                assert!(time <= clock.at(at), "{time:?} is shown at {at:?}");
                assert!(at.as_micros() == moment || clock.at(Time::from_micros(at.as_micros() - 1)) < time);
            }
        }
    }
}
