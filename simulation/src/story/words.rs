//! How times, writes and keys are written.

use super::{LaneIndex, Story};

/// `1 204.310 ms`: milliseconds, down to the microsecond, so that neighbours can be told apart. Its spaces do not break.
pub(super) fn time(micros: u64) -> String {
    let (mut millis, rest) = (micros / 1_000, micros % 1_000);
    let mut grouped = String::new();
    while 1_000 <= millis {
        grouped = format!("\u{a0}{:03}{grouped}", millis % 1_000);
        millis /= 1_000;
    }
    format!("{millis}{grouped}.{rest:03}\u{a0}ms")
}

/// `w17`.
pub(super) fn write(number: u32) -> String {
    format!("w{number}")
}

/// `k3`.
pub(super) fn key(number: u32) -> String {
    format!("k{number}")
}

/// `w3, w5`, or the given word if there are none; at most eight are named.
pub(super) fn writes(numbers: &[u32], none: &str) -> String {
    listed(numbers.iter().copied().map(write), none)
}

/// Names, separated by commas; at most eight of them.
pub(super) fn listed(names: impl ExactSizeIterator<Item = String>, none: &str) -> String {
    const NAMED_MAX: usize = 8;
    let further = names.len().saturating_sub(NAMED_MAX);
    let named: Vec<String> = names.take(NAMED_MAX).collect();
    match (named.is_empty(), further) {
        (true, _) => none.to_owned(),
        (_, 0) => named.join(", "),
        _ => format!("{} and {further} more", named.join(", ")),
    }
}

/// A text cut to so many characters, with an ellipsis if something was cut, and no line breaks or control characters.
pub(super) fn cut(text: &str, characters_max: usize) -> String {
    let mut clean = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let mut kept: String = clean.by_ref().take(characters_max).collect();
    if clean.next().is_some() {
        kept.pop();
        kept.push('…');
    }
    kept
}

impl Story {
    pub(super) fn name(&self, lane: LaneIndex) -> &str {
        self.lanes.get(lane.0).map_or("?", |lane| &lane.name)
    }

    pub(super) fn names(&self, lanes: &[LaneIndex]) -> String {
        lanes.iter().map(|lane| self.name(*lane)).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_by_characters_and_never_breaks_a_line() {
        assert_eq!(cut("grün\nund blau", 6), "grün …");
        assert_eq!(cut("grün", 4), "grün");
        assert_eq!(cut("", 4), "");
    }

    #[test]
    fn times_show_every_microsecond() {
        assert_eq!(time(1_204_310), "1\u{a0}204.310\u{a0}ms");
        assert_eq!(time(4_001_002_003), "4\u{a0}001\u{a0}002.003\u{a0}ms");
        assert_eq!(time(7), "0.007\u{a0}ms");
    }

    #[test]
    fn long_lists_are_counted_rather_than_told() {
        assert_eq!(writes(&[], "nothing"), "nothing");
        assert_eq!(writes(&[1, 2], "nothing"), "w1, w2");
        assert!(writes(&(0..20).collect::<Vec<_>>(), "nothing").ends_with("and 12 more"));
    }
}
