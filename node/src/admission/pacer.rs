//! How much background work a shard does: as much as its foreground does not feel (the Dynamo paper, section 6.5).

use std::time::Duration;

use super::latency::Histogram;
use crate::Time;
use crate::limits::{
    PACE_BATCH_BYTES, PACE_BURST, PACE_FLOOR, PACE_MAX, PACE_SAMPLES_MIN, PACE_START, PACE_STEP, PACE_TARGET_MIN,
    PACE_WAIT_MAX, PACE_WINDOW, PACE_WINDOW_ALONE,
};

/// The budget of one shard's background work, in bytes per second: anti-entropy's answers and what it brings, transfers, hints handed
/// over, pages of the scrub.
///
/// ```text
///         each window: p99 of the foreground above the target ──▶ half the rate, not below the floor
///                      not above, and the budget was used     ──▶ a step more, not above the most
///                      not above, and it was not              ──▶ a step towards where it started
///                      nobody asked, and the budget was used  ──▶ twice the rate, not above the most; the next window is short
///         somebody asks, after a window in which nobody did      ──▶ no more than where it started
/// ```
///
/// A rate that grew while nobody used it would say nothing, and a node that comes back would find it as high as can be.
///
/// Where nobody asks there is nobody to protect, and a node that is filled before it serves should not take an hour for what its disk does in
/// minutes. What it has come to by then says nothing of what a foreground will feel, so it is given up at the first question: a
/// client's that was answered, or a peer's for one.
///
/// The *target* is one and a half times a baseline, and at least a few milliseconds, which nobody notices. It is no number of the
/// configuration, for nobody knows the right one: what is usual differs from one disk, network and load to another by a factor of a
/// hundred; one that is too low would keep background work at the floor for ever, and one that is too high would protect nobody. The
/// *baseline* is the p99 of windows with next to no background work, which it follows slowly; and it goes down with any window, as background work
/// makes nothing quicker.
///
/// The *floor* makes convergence bounded: however bad the foreground is, a batch waits no longer than the floor needs for the one
/// before it, and never longer than some seconds. A batch may be larger than what is left of the budget; then the next waits the longer. There is no clock in it and no timer:
/// what happened while nobody asked is made up for when somebody does.
#[derive(Clone, Debug)]
pub struct Pacer {
    /// Bytes per second.
    rate: u64,
    /// Bytes that may be spent now; below 0 if too many were.
    balance: i64,
    refilled_at: Time,
    window_from: Time,
    window: Histogram,
    /// Bytes spent in the window.
    spent: u64,
    /// In microseconds.
    baseline: Option<u64>,
    /// Whether anybody asked in the window.
    is_asked: bool,
    /// Whether nobody did in the one before, nor has since.
    is_alone: bool,
}

impl Default for Pacer {
    fn default() -> Self {
        Self {
            rate: PACE_START,
            balance: burst(PACE_START),
            refilled_at: Time::default(),
            window_from: Time::default(),
            window: Histogram::default(),
            spent: 0,
            baseline: None,
            is_asked: false,
            is_alone: false,
        }
    }
}

impl Pacer {
    /// A client's request was answered after so long.
    pub fn handle_answered(&mut self, now: Time, took: Duration) {
        self.handle_asked(now);
        self.window.record(took);
    }

    /// A peer asks for what a client waits for.
    pub fn handle_asked(&mut self, now: Time) {
        self.roll(now);
        self.is_asked = true;
        if std::mem::take(&mut self.is_alone) {
            self.rate = self.rate.min(PACE_START);
            self.balance = self.balance.min(burst(PACE_START));
        }
    }

    /// When the next batch may be worked on; `None` if now.
    pub fn waits_until(&mut self, now: Time) -> Option<Time> {
        self.roll(now);
        let earned = u128::from(self.rate) * now.since(self.refilled_at).as_micros() / 1_000_000;
        if 0 < earned {
            // What is earned in less than a byte's time is not lost, but for the last fraction.
            self.refilled_at = now;
            let earned = i64::try_from(earned).unwrap_or(i64::MAX);
            self.balance = self.balance.saturating_add(earned).min(burst(self.rate));
        }
        let missing = u64::try_from(1_i64.saturating_sub(self.balance)).unwrap_or_default();
        (0 < missing).then(|| now + Duration::from_micros((missing * 1_000_000).div_ceil(self.rate)))
    }

    /// A batch of so many bytes is worked on. Each costs something, however small it is.
    pub fn spend(&mut self, bytes: usize) {
        let cost = (bytes as u64).max(PACE_BATCH_BYTES);
        self.spent = self.spent.saturating_add(cost);
        let debt_max =
            i64::try_from(u128::from(PACE_FLOOR) * PACE_WAIT_MAX.as_micros() / 1_000_000).unwrap_or(i64::MAX);
        self.balance = self.balance.saturating_sub(i64::try_from(cost).unwrap_or(i64::MAX)).max(-debt_max);
    }

    /// Bytes per second of background work that the foreground allows for now.
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// Ends the window, if its time is over.
    fn roll(&mut self, now: Time) {
        let length = if self.is_alone { PACE_WINDOW_ALONE } else { PACE_WINDOW };
        let windows = now.since(self.window_from).as_micros() / length.as_micros();
        if windows == 0 {
            return;
        }
        let seen = (PACE_SAMPLES_MIN <= self.window.samples()).then(|| self.window.percentile(99).as_micros() as u64);
        let target = self.baseline.map(|baseline| Duration::from_micros(baseline / 2 * 3).max(PACE_TARGET_MIN));
        let is_above = seen.zip(target).is_some_and(|(seen, target)| target.as_micros() < u128::from(seen));
        let is_used = u128::from(self.rate) * length.as_micros() <= 2 * u128::from(self.spent) * 1_000_000;
        let rate = match (is_above, is_used) {
            (true, _) => (self.rate / 2).max(PACE_FLOOR),
            (false, true) if !self.is_asked => (self.rate * 2).min(PACE_MAX),
            (false, true) => (self.rate + PACE_STEP).min(PACE_MAX),
            (false, false) => rested(self.rate, 1),
        };
        self.is_alone = !self.is_asked || 1 < windows;
        self.is_asked = false;
        // In the windows behind that nobody did or asked anything.
        self.rate = rested(rate, u64::try_from(windows).unwrap_or(u64::MAX) - 1);
        if let Some(seen) = seen {
            self.follow(seen);
        }
        self.window_from = self.window_from + length.saturating_mul(u32::try_from(windows).unwrap_or(u32::MAX));
        self.spent = 0;
        self.window.clear();
    }

    fn follow(&mut self, seen: u64) {
        let quiet = u128::from(self.spent) * 1_000_000 <= u128::from(PACE_FLOOR) * PACE_WINDOW.as_micros();
        self.baseline = Some(match self.baseline {
            None => seen,
            Some(baseline) if seen < baseline => baseline - (baseline - seen) / 8,
            Some(baseline) if quiet => baseline + (seen - baseline).div_ceil(8),
            Some(baseline) => baseline,
        });
    }
}

/// The rate after so many windows in which it was not used: so many steps nearer to where it started.
fn rested(rate: u64, windows: u64) -> u64 {
    let steps = windows.saturating_mul(PACE_STEP);
    match rate < PACE_START {
        true => rate.saturating_add(steps).min(PACE_START),
        false => rate.saturating_sub(steps).max(PACE_START),
    }
}

/// Most that is saved while nothing is to be done.
fn burst(rate: u64) -> i64 {
    i64::try_from(u128::from(rate) * PACE_BURST.as_micros() / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1_000)
    }

    /// Windows from this one on, in each of which the foreground takes so many milliseconds, and so many bytes are spent. Gives the first
    /// window after them.
    fn windows(pacer: &mut Pacer, from: u64, count: u64, millis: u64, bytes: usize) -> u64 {
        let length = PACE_WINDOW.as_millis() as u64;
        for window in from..from + count {
            for _ in 0..100 {
                pacer.handle_answered(at(window * length + 1), Duration::from_millis(millis));
            }
            pacer.spend(bytes);
        }
        pacer.handle_answered(at((from + count) * length), Duration::from_millis(millis));
        from + count
    }

    #[test]
    fn the_rate_is_halved_above_the_target_and_grows_by_steps_below() {
        let mut pacer = Pacer::default();
        let next = windows(&mut pacer, 0, 4, 10, 100_000_000);
        assert_eq!(pacer.rate(), PACE_START + 4 * PACE_STEP);
        let next = windows(&mut pacer, next, 2, 40, 100_000_000);
        assert_eq!(pacer.rate(), (PACE_START + 4 * PACE_STEP) / 4);
        let next = windows(&mut pacer, next, 20, 40, 100_000_000);
        assert_eq!(pacer.rate(), PACE_FLOOR, "however long it lasts");
        windows(&mut pacer, next, 3, 10, 0);
        assert_eq!(pacer.rate(), PACE_FLOOR + 3 * PACE_STEP);
    }

    /// A window in which nobody asks, and then short ones, in all of which all is spent that may be. Gives when they end.
    fn windows_alone(pacer: &mut Pacer, from: Time, short: usize) -> Time {
        let mut end = from;
        for length in [PACE_WINDOW].into_iter().chain(std::iter::repeat_n(PACE_WINDOW_ALONE, short)) {
            end = end + length;
            pacer.spend(usize::try_from(pacer.rate()).expect("64 bits"));
            pacer.waits_until(end);
        }
        end
    }

    #[test]
    fn while_nobody_asks_the_rate_doubles_and_the_first_who_does_has_it_where_it_started() {
        for asks in [Pacer::handle_asked, |pacer: &mut Pacer, now| pacer.handle_answered(now, Duration::ZERO)] {
            for (short, rate) in [(0, 2 * PACE_START), (2, 8 * PACE_START), (10, PACE_MAX)] {
                let mut pacer = Pacer::default();
                let end = windows_alone(&mut pacer, Time::default(), short);
                assert_eq!(pacer.rate(), rate);
                asks(&mut pacer, end + Duration::from_millis(1));
                assert_eq!(pacer.rate(), PACE_START);
                assert!(pacer.balance <= burst(PACE_START), "nor is more saved");
            }
        }
    }

    #[test]
    fn who_asks_keeps_a_rate_that_was_found_beside_it() {
        let mut pacer = Pacer::default();
        let next = windows(&mut pacer, 0, 4, 10, 100_000_000);
        pacer.handle_asked(at(next * PACE_WINDOW.as_millis() as u64 + 1));
        assert_eq!(pacer.rate(), PACE_START + 4 * PACE_STEP);
        let next = windows(&mut pacer, next, 8, 40, 100_000_000);
        assert_eq!(pacer.rate(), PACE_FLOOR);
        windows_alone(&mut pacer, at(next * PACE_WINDOW.as_millis() as u64), 0);
        assert!(pacer.rate() < PACE_START);
    }

    #[test]
    fn what_is_slow_without_background_work_becomes_the_usual() {
        let mut pacer = Pacer::default();
        let next = windows(&mut pacer, 0, 4, 10, 0);
        let next = windows(&mut pacer, next, 40, 40, 0);
        let rate = pacer.rate();
        windows(&mut pacer, next, 2, 40, 100_000_000);
        assert!(rate < pacer.rate());
    }

    #[test]
    fn a_rate_that_nobody_uses_says_nothing_and_goes_back_to_where_it_started() {
        let mut pacer = Pacer::default();
        let next = windows(&mut pacer, 0, 4, 10, 100_000_000);
        let next = windows(&mut pacer, next, 2, 10, 0);
        assert_eq!(pacer.rate(), PACE_START + 2 * PACE_STEP);
        windows(&mut pacer, next, 10, 10, 0);
        assert_eq!(pacer.rate(), PACE_START);
    }

    #[test]
    fn what_nobody_notices_is_no_reason_to_wait() {
        let mut pacer = Pacer::default();
        let next = windows(&mut pacer, 0, 4, 0, 0);
        let millis = PACE_TARGET_MIN.as_millis() as u64 / 2;
        windows(&mut pacer, next, 4, millis, 100_000_000);
        assert!(PACE_START < pacer.rate());
    }

    #[test]
    fn a_batch_beyond_the_budget_lets_the_next_wait_and_never_for_ever() {
        let mut pacer = Pacer::default();
        assert_eq!(pacer.waits_until(at(0)), None);
        pacer.spend(burst(PACE_START) as usize + PACE_FLOOR as usize);
        let until = pacer.waits_until(at(0)).expect("more was done than is allowed");
        assert_eq!(until.as_micros(), (PACE_FLOOR * 1_000_000).div_ceil(PACE_START) + 1);
        assert!(pacer.waits_until(at(1)).is_some_and(|again| again <= until));
        assert_eq!(pacer.waits_until(until), None);
        pacer.spend(usize::MAX / 2);
        assert!(pacer.waits_until(until).is_some_and(|again| again <= until + PACE_WAIT_MAX));
    }

    #[test]
    fn even_the_smallest_batch_costs_something() {
        let mut pacer = Pacer::default();
        let batches = (0..).take_while(|_| {
            pacer.spend(0);
            pacer.waits_until(at(0)).is_none()
        });
        assert!(batches.count() as u64 <= PACE_START / PACE_BATCH_BYTES);
    }

    #[test]
    fn while_nobody_asks_the_budget_recovers_without_being_told_the_time() {
        let mut pacer = Pacer::default();
        let next = windows(&mut pacer, 0, 4, 10, 0);
        windows(&mut pacer, next, 20, 40, 100_000_000);
        assert!(pacer.waits_until(at(3_600_000)).is_none());
        assert_eq!(pacer.rate(), PACE_START);
    }
}
