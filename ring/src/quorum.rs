//! N, R and W (the Dynamo paper, section 4.5), valid by construction.

use serde::Serialize;

/// Why a quorum was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuorum {
    /// N is 0 or more than [`Quorum::N_MAX`].
    #[error("n = {n} is not possible: it is from 1 to {max}", max = Quorum::N_MAX)]
    Replicas {
        /// The N that was given.
        n: u8,
    },
    /// R is 0 or above N.
    #[error("r = {r} is not possible with n = {n}: it is from 1 to {n}")]
    Read {
        /// The N of the cluster.
        n: u8,
        /// The R that was given.
        r: u8,
    },
    /// W is 0 or above N.
    #[error("w = {w} is not possible with n = {n}: it is from 1 to {n}")]
    Write {
        /// The N of the cluster.
        n: u8,
        /// The W that was given.
        w: u8,
    },
}

/// How many replicas a key has (N), how many must answer a read (R), and how many must have stored a write (W).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quorum {
    n: u8,
    r: u8,
    w: u8,
}

impl Quorum {
    /// Most replicas a key may have.
    pub const N_MAX: u8 = 16;

    /// Checks the three numbers.
    ///
    /// # Errors
    /// Which of them cannot hold, and what could.
    pub const fn new(n: u8, r: u8, w: u8) -> Result<Self, InvalidQuorum> {
        if n == 0 || Self::N_MAX < n {
            return Err(InvalidQuorum::Replicas { n });
        }
        if r == 0 || n < r {
            return Err(InvalidQuorum::Read { n, r });
        }
        if w == 0 || n < w {
            return Err(InvalidQuorum::Write { n, w });
        }
        Ok(Self { n, r, w })
    }

    /// Majorities for both: the smallest equal R and W whose sets always overlap.
    ///
    /// # Errors
    /// [`InvalidQuorum::Replicas`] if N is not possible.
    pub const fn majority(n: u8) -> Result<Self, InvalidQuorum> {
        Self::new(n, n / 2 + 1, n / 2 + 1)
    }

    /// The same N with a request's own R and W where it has any.
    ///
    /// # Errors
    /// Which of them cannot hold.
    pub fn with(self, r: Option<u8>, w: Option<u8>) -> Result<Self, InvalidQuorum> {
        Self::new(self.n, r.unwrap_or(self.r), w.unwrap_or(self.w))
    }

    /// How many replicas a key has.
    pub const fn n(self) -> u8 {
        self.n
    }

    /// How many replicas must answer a read.
    pub const fn r(self) -> u8 {
        self.r
    }

    /// How many replicas must have stored a write.
    pub const fn w(self) -> u8 {
        self.w
    }

    /// Whether every read meets a replica of every acknowledged write (R + W > N), so that a client reads its own writes.
    pub const fn reads_own_writes(self) -> bool {
        self.n < self.r + self.w
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_possible_quorums_exist() {
        for n in 0..=20 {
            for r in 0..=20 {
                for w in 0..=20 {
                    let possible = (1..=16).contains(&n) && (1..=n).contains(&r) && (1..=n).contains(&w);
                    let quorum = Quorum::new(n, r, w);
                    assert_eq!(quorum.is_ok(), possible, "{n} {r} {w}");
                    if let Ok(quorum) = quorum {
                        assert_eq!(quorum.reads_own_writes(), r + w > n);
                    }
                }
            }
        }
    }

    #[test]
    fn majorities_are_the_smallest_that_overlap() {
        for n in 1..=16 {
            let majority = Quorum::majority(n).expect("valid");
            assert!(majority.reads_own_writes() && majority.r() == majority.w());
            let smaller = Quorum::new(n, majority.r() - 1, majority.w() - 1);
            assert!(smaller.is_err() || smaller.is_ok_and(|quorum| !quorum.reads_own_writes()));
        }
    }

    #[test]
    fn a_request_s_own_numbers_stand_in_for_the_cluster_s() {
        let quorum = Quorum::new(5, 2, 4).expect("valid");
        let numbers = |quorum: Quorum| (quorum.n(), quorum.r(), quorum.w());
        assert_eq!(quorum.with(None, None).map(numbers), Ok((5, 2, 4)));
        assert_eq!(quorum.with(Some(5), None).map(numbers), Ok((5, 5, 4)));
        assert_eq!(quorum.with(None, Some(3)).map(numbers), Ok((5, 2, 3)));
        assert_eq!(quorum.with(Some(6), None), Err(InvalidQuorum::Read { n: 5, r: 6 }));
        assert_eq!(quorum.with(None, Some(0)), Err(InvalidQuorum::Write { n: 5, w: 0 }));
    }
}
