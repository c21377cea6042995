//! Numbers as people read them: digits in threes, bytes in binary units, times in the unit that fits.

use std::time::Duration;

use quorate_ring::Ttl;

/// A count with its digits in groups of three: `20,000`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes in the largest unit that leaves at least one of it: `6.5 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut scaled = number as f64 / 1024.0;
    let mut unit = 0;
    while 1024.0 <= scaled && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// A duration in the unit that fits: `12 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// How many per second, rounded; 0 for no time at all.
pub(crate) fn rate(number: u64, time: Duration) -> u64 {
    let seconds = time.as_secs_f64();
    if seconds == 0.0 { 0 } else { (number as f64 / seconds).round() as u64 }
}

/// Reads a time such as `500ms`, `5s`, `2m`, `12h`, `7d` or `5` (seconds): more than 0, and no longer than the longest ttl.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    time_in_range(text)?.ok_or_else(|| format!("a time is {TIME_RANGE}, not {text}"))
}

/// Reads how long a value lives, as [`parse_duration`] does.
pub(crate) fn parse_ttl(text: &str) -> Result<Duration, String> {
    let refused = || format!("a ttl is {TIME_RANGE}, not {text}; without one a value lives for ever");
    time_in_range(text)?.ok_or_else(refused)
}

/// What [`time_in_range`] takes, which is what a [`Ttl`] may be.
const TIME_RANGE: &str = "1ms to 3650d (ten years)";

/// A time as it is typed; `None` if it is out of range.
fn time_in_range(text: &str) -> Result<Option<Duration>, String> {
    let expected = || format!("expected a time such as 500ms, 5s, 2m, 12h or 7d, not {text:?}");
    if text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit())) {
        return Ok(None);
    }
    let unit_at = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let unit_millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(expected()),
    };
    Ok(Ttl::from_millis(number.saturating_mul(unit_millis)).ok().map(Ttl::duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1023, 1024, 8 * 1024 * 1024].map(bytes), ["0 B", "1023 B", "1.0 KiB", "8.0 MiB"]);
        let times = [12, 4200, 200_000, 7_500_000, 273_600_000].map(Duration::from_millis).map(duration);
        assert_eq!(times, ["12 ms", "4.2 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"]);
    }

    #[test]
    fn every_time_has_a_unit_up_to_days_or_is_in_seconds() {
        let times =
            [("500ms", 500), ("5s", 5_000), ("5", 5_000), ("2m", 120_000), ("12h", 43_200_000), ("7d", 604_800_000)];
        for (text, millis) in times {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
            assert_eq!(parse_ttl(text), Ok(Duration::from_millis(millis)));
        }
        for text in ["", "s", "--json", "1.5h", "5w", "99999999999999999999"] {
            let refused = parse_duration(text).expect_err(text);
            assert!(refused.starts_with("expected a time such as 500ms, 5s, 2m, 12h or 7d"), "{refused}");
        }
    }

    #[test]
    fn a_time_out_of_range_is_refused_with_what_is_allowed_as_it_would_be_typed() {
        for text in ["0", "0d", "-1s", "-5", "3651d", "99999999999999d"] {
            let refused = parse_duration(text).expect_err(text);
            assert_eq!(refused, format!("a time is 1ms to 3650d (ten years), not {text}"));
            let refused = parse_ttl(text).expect_err(text);
            assert!(refused.starts_with("a ttl is 1ms to 3650d (ten years), not"), "{refused}");
        }
    }
}
