//! What is said, and in which colours. Who closed the pipe has read enough: that it cannot be written to is no failure.

use std::fmt::{self, Display};
use std::io::Write as _;

use anstyle::{AnsiColor, Style};

/// What held.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What did not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What can be typed.
pub(crate) const COMMAND: Style = AnsiColor::Cyan.on_default();
/// Headings.
pub(crate) const HEADING: Style = Style::new().bold();
/// What is less important.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Something in a colour.
pub(crate) struct Styled<T>(pub(crate) Style, pub(crate) T);

impl<T: Display> Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:#}", self.0, self.1, self.0)
    }
}

/// Says a line.
pub(crate) fn line(text: impl Display) {
    writeln!(anstream::stdout(), "{text}").ok();
}

/// Says a line beside the results: how far a command is.
pub(crate) fn aside(text: impl Display) {
    writeln!(anstream::stderr(), "{text}").ok();
}

/// Says what was wrong with what was asked for.
pub(crate) fn complain(error: &dyn Display) {
    aside(format_args!("{} {error}", Styled(BAD, "error:")));
}

/// A number with its thousands apart.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut apart = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

/// How many there are a second.
pub(crate) fn rate(count: u64, seconds: f64) -> String {
    let rate = count as f64 / seconds.max(1e-6);
    if rate < 10_000_000.0 { number(rate.round() as u64) } else { format!("{:.0} M", rate / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
    }
}
