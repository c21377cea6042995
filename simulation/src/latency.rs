//! Measured latencies: a text with one delay in each line becomes the delays of a simulated network.
//!
//! Each line is the time that one message took one way, such as `1.3ms`, `870us` or `0.2s`; half the round trips that a ping
//! reports will do. Empty lines and those that begin with `#` are passed over. Delays are drawn one by one from the measured
//! distribution: bursts, in which slow messages come together, are not kept.

use std::time::Duration;

use crate::delay::{Delay, Shape};
use crate::plan::span::Span;

/// Why a text is no trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTrace {
    /// A line is no delay.
    #[error("line {line}: {text:?} is no delay; expected one such as 1.3ms, 870us or 0.2s")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What stands there, cut to a readable length.
        text: String,
    },
    /// A delay is longer than messages take.
    #[error("line {line}: {text:?} is longer than the longest delay of a message, 60s")]
    Long {
        /// Its number, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// There is no delay in it.
    #[error("there is no delay in it; expected one in each line, such as 1.3ms")]
    Empty,
}

/// The longest delay.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// How much of a wrong line is shown.
const SHOWN_MAX: usize = 40;

/// The delays that were measured.
///
/// # Errors
/// The first line that is no delay; or that there is none at all.
pub fn measured(text: &str) -> Result<Delay, InvalidTrace> {
    let lines = (1..).zip(text.lines().map(str::trim));
    let lines = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
    let mut delays = lines.map(|(line, text)| delay(line, text)).collect::<Result<Vec<_>, _>>()?;
    delays.sort_unstable();
    let median = delays.get(delays.len() / 2).copied().ok_or(InvalidTrace::Empty)?;
    let shape = Shape::of_trace(delays).map_err(|_| InvalidTrace::Empty)?;
    Ok(Delay { shape, median: Span::from(median) })
}

fn delay(line: usize, text: &str) -> Result<Duration, InvalidTrace> {
    let shown = || text.chars().take(SHOWN_MAX).collect();
    let number = text.trim_end_matches(char::is_alphabetic);
    let unit = match &text[number.len()..] {
        "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        _ => return Err(InvalidTrace::Line { line, text: shown() }),
    };
    match number.trim_end().parse::<f64>() {
        Ok(number) if (0.0..=DELAY_MAX.as_secs_f64()).contains(&(number * unit)) => {
            Ok(Duration::from_secs_f64(number * unit))
        }
        Ok(number) if 0.0 < number => Err(InvalidTrace::Long { line, text: shown() }),
        _ => Err(InvalidTrace::Line { line, text: shown() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_delay_a_line_is_a_trace() {
        let delay = measured("# ping\n1.3ms\n\n 870 us \n0.2s\n").expect("three delays");
        assert_eq!(delay.median, Span::from_micros(1_300));
        assert!(matches!(delay.shape, Shape::Trace(quantiles) if quantiles.first() == Some(&870)));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let message = |text| measured(text).expect_err("wrong").to_string();
        for wrong in ["1ms\nfast", "1ms\n7", "1ms\n-1ms", "1ms\nNaNms", "1ms\nms"] {
            assert!(message(wrong).starts_with("line 2: "), "{}", message(wrong));
        }
        assert!(message("1ms\n2\n3h").starts_with("line 2"));
        assert!(message("61s").contains("longer"), "{}", message("61s"));
        assert_eq!(measured("# nothing\n"), Err(InvalidTrace::Empty));
    }
}
