//! The catalogue of faults: every kind that the field knows, by its number, in a line each.
//!
//! A run counts how often each fired. A campaign fails in which a kind that its plans enabled never did.

use std::fmt;
use std::str::FromStr;

macro_rules! catalogue {
    ($($id:ident $text:literal;)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(usize)]
        pub enum FaultId {
            $(#[doc = $text] $id,)*
        }

        impl FaultId {
            /// All of them.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$id),*];
            /// How many there are.
            pub const COUNT: usize = [$(stringify!($id)),*].len();

            /// Its number in the catalogue.
            pub const fn number(self) -> &'static str {
                match self { $(Self::$id => stringify!($id),)* }
            }

            /// What it is, in a line.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$id => $text,)* }
            }
        }
    };
}

catalogue! {
    N1 "a message is dropped";
    N2 "a message is duplicated, at once or much later";
    N3 "messages are reordered";
    N4 "messages are delayed: exponentially, in two modes, log-normally, or as in a trace";
    N5 "a link, or all links of a node, are slow for good";
    N6 "bytes are corrupted on the wire, below the checksum and above it";
    N7 "the nodes are split into islands";
    N8 "messages pass one way only";
    N9 "a cut that is not transitive: a bridge, a ring of majorities, or any graph";
    N10 "a client is cut off from some nodes";
    N11 "a link flaps";
    N12 "a link clogs, then everything comes at once";
    N13 "a link has little bandwidth and a short queue";
    N14 "messages of one type are lost, or each n-th of them";
    N15 "a connection is reset, and what was under way on it has an unknown fate";
    N16 "a fan-out reaches k of n";
    P1 "a process crashes, or is stopped, and starts again with its state";
    P2 "a machine loses power, and what was not synced";
    P3 "a machine gets empty disks and keeps its identity";
    P4 "a store is restored from an old copy, or two nodes swap disks";
    P5 "a process is paused for long, or stutters";
    P6 "wall clocks jump and strobe, and all clocks drift";
    P7 "several machines lose power at once";
    P8 "a process dies at a step within an operation";
    D1 "a sync fails, or lies";
    D2 "power fails while a batch is being written";
    D3 "a stored entry rots";
    D4 "a write lands on another's place, or nowhere";
    D5 "a read fails where an entry is";
    D6 "a disk is full";
    D7 "a disk is slow, or stalls";
    M1 "nodes join, leave or are replaced";
    M2 "nodes have different views of the ring";
    M3 "the default R and W change under load";
    L1 "overload: a crowd on one hot key, and huge values";
    L2 "clients retry, and replies are lost";
    B1 "contexts are forged or cut, and strangers connect";
    V1 "two versions of the software run side by side";
    G1 "the horizon of expiry passes while a node is away";
}

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.number())
    }
}

/// That no fault has this number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fault is called {found:?}; the nearest are {nearest}; `quorate-sim list` shows all")]
pub struct UnknownFault {
    /// What was given.
    pub found: String,
    /// Those that look most like it.
    pub nearest: String,
}

impl FromStr for FaultId {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let found = text.trim();
        let known = Self::ALL.into_iter().find(|id| id.number().eq_ignore_ascii_case(found));
        known.ok_or_else(|| UnknownFault {
            found: found.to_owned(),
            nearest: nearest(found, Self::ALL.iter().map(|id| id.number())).join(", "),
        })
    }
}

/// The three names that look most like a text, best first.
pub fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let text = text.to_lowercase();
    let mut names: Vec<_> = names.map(|name| (edits(&text, &name.to_lowercase()), name)).collect();
    names.sort();
    names.into_iter().take(3).map(|(_, name)| name).collect()
}

/// How many letters must be changed, added or taken out to make one text of the other (Levenshtein's distance).
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, another) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *another);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// How often each kind of fault fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired([u64; FaultId::COUNT]);

impl Default for Fired {
    fn default() -> Self {
        Self([0; FaultId::COUNT])
    }
}

impl Fired {
    /// Counts one.
    pub const fn note(&mut self, id: FaultId) {
        self.0[id as usize] += 1;
    }

    /// How often it fired.
    pub const fn count(&self, id: FaultId) -> u64 {
        self.0[id as usize]
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }
}

impl fmt::Display for Fired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, id) in FaultId::ALL.into_iter().enumerate() {
            write!(f, "{}{id} {}", if index == 0 { "" } else { ", " }, self.count(id))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest() {
        assert_eq!("n7".parse(), Ok(FaultId::N7));
        let wrong = "N77".parse::<FaultId>().expect_err("there is none");
        assert!(wrong.to_string().contains("N7"), "{wrong}");
        assert_eq!(nearest("doomstoen", ["doomstone", "storm", "scan"].into_iter())[0], "doomstone");
    }

    #[test]
    fn the_catalogue_has_thirty_nine_kinds() {
        assert_eq!(FaultId::COUNT, 39);
    }
}
