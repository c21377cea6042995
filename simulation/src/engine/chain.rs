//! The chain of a run: what happened, event by event, each with the hash of everything up to it. Two runs that should be the same and
//! are not part at the first event whose hash differs.

use std::fmt;

use quorate_node::Time;

/// An event that happened, and the hash of all that had happened then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// When.
    pub at: Time,
    /// The hash of the history, this event included.
    pub hash: u64,
    /// What.
    pub what: String,
}

/// In a line.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} {} us {}", self.hash, self.at.as_micros(), self.what)
    }
}

/// The place of the first link that differs; one that only one chain has differs too.
pub fn first_difference<T: PartialEq>(one: &[T], other: &[T]) -> Option<usize> {
    let alike = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    (alike < one.len().max(other.len())).then_some(alike)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_part_at_the_first_link_that_differs() {
        assert_eq!(first_difference(&[1, 2, 3], &[1, 2, 3]), None);
        assert_eq!(first_difference(&[1, 2, 3], &[1, 5, 3]), Some(1));
        assert_eq!(first_difference(&[1, 2], &[1, 2, 3]), Some(2));
        assert_eq!(first_difference::<u64>(&[], &[]), None);
    }
}
