//! What is said at a campaign's end, and whether it holds.

use std::fmt::Display;

use quorate_simulation::catalogue::FaultId;
use quorate_simulation::sometimes::Sometimes;

use super::totals::Totals;
use crate::input::Kinds;
use crate::screen::{self, BAD, DIM, GOOD, HEADING, Styled, number, rate};

/// From how many seeds on every kind of fault must have fired, and few runs may be excused.
const SEEDS_THAT_FIRE_EVERYTHING: u64 = 1_000;
/// From how many seeds on a campaign must have met everything. The rarest is met in one of 600 (a hedge that is denied): of campaigns of a
/// thousand seeds one in five would miss it by chance, of such as this none in a million.
const SEEDS_THAT_MEET_EVERYTHING: u64 = 10_000;
/// The most runs of a thousand whose losses are excused: more, and the plans no longer test the promise.
const EXCUSED_PER_MILLE_MAX: u64 = 20;
/// How many standard deviations more it must be in a campaign: with as many as are allowed, one in thirty thousand has so many by chance. Of
/// some thousand seeds one campaign in ten would have too many with the 17 in a thousand that there are.
const EXCUSED_DEVIATIONS: f64 = 4.0;

/// Tells everything, and says whether the campaign holds.
pub(super) fn tell(totals: &Totals, kinds: &Kinds, first: u64, seconds: f64) -> bool {
    tell_faults(totals, kinds);
    tell_sometimes(totals);
    let wrong = wrong(totals, kinds);
    screen::line("");
    screen::line(format_args!(
        "{} seeds from {first}: {} failed, {} excused",
        number(totals.seeds),
        number(totals.failed),
        number(totals.excused)
    ));
    screen::line(format_args!(
        "{} events in {seconds:.1} s: {} seeds, {} events, {} simulated seconds a second",
        number(totals.events),
        rate(totals.seeds, seconds),
        rate(totals.events, seconds),
        rate(totals.lasted.as_secs(), seconds)
    ));
    wrong.iter().for_each(|what| screen::line(format_args!("{} {what}", Styled(BAD, "FAILED"))));
    if wrong.is_empty() {
        screen::line(format_args!("{} all that was promised held", Styled(GOOD, "passed")));
    }
    wrong.is_empty()
}

/// Everything that keeps the campaign from holding.
fn wrong(totals: &Totals, kinds: &Kinds) -> Vec<String> {
    let mut wrong = Vec::new();
    if 0 < totals.failed {
        let mut seeds: Vec<u64> = totals.failures.iter().map(|(seed, _)| *seed).collect();
        seeds.sort_unstable();
        let seeds: Vec<String> = seeds.iter().take(10).map(u64::to_string).collect();
        wrong.push(format!("{} seeds failed, {} among them", number(totals.failed), seeds.join(", ")));
    }
    // What failed ends early and meets little; a short campaign may miss what is rare.
    if totals.seeds < SEEDS_THAT_FIRE_EVERYTHING || 0 < totals.failed {
        return wrong;
    }
    let silent: Vec<String> = kinds
        .enabled()
        .into_iter()
        .filter(|id| totals.fired.count(*id) == 0)
        .map(|id| format!("{id} ({})", id.text()))
        .collect();
    wrong.extend((!silent.is_empty()).then(|| format!("faults that never fired: {}", silent.join("; "))));
    // With few kinds of faults, much cannot happen.
    let never: Vec<&str> = totals.tallies.never().into_iter().map(Sometimes::text).collect();
    if kinds.are_all() && SEEDS_THAT_MEET_EVERYTHING <= totals.seeds && !never.is_empty() {
        wrong.push(format!("what should sometimes happen and never did: {}", never.join("; ")));
    }
    if are_too_many_excused(totals.seeds, totals.excused) {
        wrong.push(format!("{} runs were excused, of {EXCUSED_PER_MILLE_MAX} in a thousand at most", totals.excused));
    }
    wrong
}

/// Whether more runs were excused than may be, and than chance explains.
fn are_too_many_excused(seeds: u64, excused: u64) -> bool {
    let allowed = seeds as f64 * EXCUSED_PER_MILLE_MAX as f64 / 1_000.0;
    allowed + EXCUSED_DEVIATIONS * allowed.sqrt() < excused as f64
}

fn tell_faults(totals: &Totals, kinds: &Kinds) {
    screen::line(Styled(HEADING, "faults fired"));
    let enabled = kinds.enabled();
    for id in FaultId::ALL {
        let count = totals.fired.count(id);
        if count == 0 && !enabled.contains(&id) {
            row(id, "off", Styled(DIM, id.text()));
        } else {
            row(id, &number(count), id.text());
        }
    }
}

fn tell_sometimes(totals: &Totals) {
    screen::line(Styled(HEADING, "sometimes"));
    for what in Sometimes::ALL {
        let seeds = format!("{} (in {} seeds)", what.text(), number(totals.runs_with.count(what)));
        row("", &number(totals.tallies.count(what)), seeds);
    }
}

fn row(id: impl Display, count: &str, text: impl Display) {
    let id = id.to_string();
    screen::line(format_args!("  {id:<4}{count:>14}  {text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_more_excused_runs_are_chance_and_many_are_not() {
        assert!(!are_too_many_excused(2_712, 57), "one campaign in ten with 17 in a thousand");
        assert!(are_too_many_excused(2_712, 84), "31 in a thousand");
        assert!(!are_too_many_excused(100_000, 2_100));
        assert!(are_too_many_excused(100_000, 2_200), "22 in a thousand of so many");
        assert!(!are_too_many_excused(1_000, 20));
    }
}
