//! [`Ttl`]: how long a value lives.

use std::time::Duration;

use crate::limits::TTL_MILLIS_MAX;

/// How long a value lives from its write: a millisecond to ten years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u64);

/// Why a time to live was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a ttl of {millis} ms; a ttl is 1 ms to {TTL_MILLIS_MAX} ms (ten years), and without one a value lives for ever"
)]
pub struct InvalidTtl {
    /// How long it was, in whole milliseconds.
    pub millis: u64,
}

impl Ttl {
    /// So many milliseconds.
    ///
    /// # Errors
    /// [`InvalidTtl`] if it is nothing, or more than ten years.
    pub const fn from_millis(millis: u64) -> Result<Self, InvalidTtl> {
        if millis == 0 || TTL_MILLIS_MAX < millis { Err(InvalidTtl { millis }) } else { Ok(Self(millis)) }
    }

    /// In milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// As a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// A part of a millisecond counts as a whole one, so that nothing lives for less than was asked.
impl TryFrom<Duration> for Ttl {
    type Error = InvalidTtl;

    fn try_from(duration: Duration) -> Result<Self, InvalidTtl> {
        let millis = duration.as_micros().div_ceil(1_000).max(u128::from(!duration.is_zero()));
        Self::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_of_nothing_or_beyond_ten_years_is_refused_with_the_rule() {
        assert_eq!(Ttl::from_millis(0), Err(InvalidTtl { millis: 0 }));
        assert_eq!(Ttl::from_millis(1).map(Ttl::as_millis), Ok(1));
        assert!(Ttl::from_millis(TTL_MILLIS_MAX).is_ok());
        let refused = Ttl::from_millis(TTL_MILLIS_MAX + 1).expect_err("more than ten years").to_string();
        assert!(refused.contains("1 ms to 315360000000 ms (ten years)"), "{refused}");
    }

    #[test]
    fn durations_are_rounded_up_and_never_wrap() {
        assert_eq!(Ttl::try_from(Duration::ZERO), Err(InvalidTtl { millis: 0 }));
        assert_eq!(Ttl::try_from(Duration::from_nanos(1)).map(Ttl::as_millis), Ok(1));
        assert_eq!(Ttl::try_from(Duration::from_micros(30_001)).map(Ttl::duration), Ok(Duration::from_millis(31)));
        assert_eq!(Ttl::try_from(Duration::MAX), Err(InvalidTtl { millis: u64::MAX }));
    }
}
