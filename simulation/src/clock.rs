//! A machine's clocks: a monotonic one that starts anywhere and drifts, and a wall clock that jumps.
//!
//! The core is told the monotonic time and must not compare it with another machine's. It is not told the wall clock's; what will
//! be (expiry) has to bear all that [`LocalClock::jump`] can do.

use quorate_node::Time;

/// The clocks of one machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LocalClock {
    /// A moment of the run, and what the monotonic clock showed then.
    from: (Time, Time),
    /// How much too fast the monotonic clock runs since, in millionths.
    drift_ppm: i32,
    /// How far the wall clock is ahead, in milliseconds.
    wall_ahead_millis: i64,
}

const MILLION: i128 = 1_000_000;

impl LocalClock {
    /// Clocks whose monotonic one shows this at the start of the run.
    pub(crate) fn starting_at(time: Time) -> Self {
        Self { from: (Time::default(), time), ..Self::default() }
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

    /// How far the wall clock is ahead of the true time, in milliseconds.
    pub(crate) fn wall_ahead_millis(&self) -> i64 {
        self.wall_ahead_millis
    }
}

fn shifted(time: Time, micros: i128) -> Time {
    let shifted = i128::from(time.as_micros()) + micros;
    Time::from_micros(u64::try_from(shifted.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

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
