//! Where a key lies on the ring: its position, and the partition that position falls in (the Dynamo paper, sections 4.2 and
//! 6.2, strategy 3: Q equal partitions).

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::ObjectKey;

/// A point on the ring: the 64-bit xxh3 of the encoded [`ObjectKey`] (bucket length, bucket, key), fixed for ever.
///
/// Changing it would move every stored key, so golden tests pin it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(u64);

impl Position {
    /// The position of a key.
    pub fn of(key: &ObjectKey) -> Self {
        Self(xxh3_64(key.encoded()))
    }

    /// The position at this point of the ring.
    pub const fn new(point: u64) -> Self {
        Self(point)
    }

    /// The point, from 0 to 2^64 - 1.
    pub const fn point(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{:016x}", self.0)
    }
}

/// One of the Q equal arcs of the ring, counted from position 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(u16);

impl PartitionId {
    /// The partition with this number. Whether it exists depends on the ring's [`PartitionCount`].
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number, from 0.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The number as an index into tables of partitions.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// Why a number of partitions was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{count} is no number of partitions: it is a power of two from 8 to 65536 (1024 if in doubt)")]
pub struct InvalidPartitionCount {
    /// What was given.
    pub count: u32,
}

/// Q, how many partitions the ring has: a power of two from 8 to 65,536, chosen when a cluster is created and fixed for its
/// life. Default 1024: even to 2.5 % with 30 nodes, to 7 % with 100. Rule of thumb: 64 partitions for each node there may be,
/// which keeps the fullest node within 1.5 % of the mean.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct PartitionCount(u8);

impl PartitionCount {
    /// Checks a number of partitions.
    ///
    /// # Errors
    /// [`InvalidPartitionCount`] if it is no power of two from 8 to 65,536.
    pub const fn new(count: u32) -> Result<Self, InvalidPartitionCount> {
        if count < 8 || 65_536 < count || !count.is_power_of_two() {
            return Err(InvalidPartitionCount { count });
        }
        Ok(Self(count.trailing_zeros() as u8))
    }

    /// The number of partitions.
    pub const fn get(self) -> u32 {
        1 << self.0
    }

    /// The partition a position lies in: its top bits.
    pub const fn partition_of(self, position: Position) -> PartitionId {
        PartitionId((position.0 >> (64 - self.0 as u32)) as u16)
    }

    /// The first position of a partition.
    ///
    /// # Panics
    /// If the ring has no such partition.
    pub const fn first_position(self, partition: PartitionId) -> Position {
        assert!((partition.0 as u32) < self.get(), "the ring has no such partition");
        Position((partition.0 as u64) << (64 - self.0 as u32))
    }

    /// The last position of a partition.
    ///
    /// # Panics
    /// If the ring has no such partition.
    pub const fn last_position(self, partition: PartitionId) -> Position {
        Position(self.first_position(partition).0 | (u64::MAX >> self.0 as u32))
    }

    /// All partitions in ring order.
    pub fn partitions(self) -> impl DoubleEndedIterator<Item = PartitionId> + ExactSizeIterator {
        (0..self.get() as usize).map(|number| PartitionId(number as u16))
    }
}

impl Default for PartitionCount {
    fn default() -> Self {
        Self(10)
    }
}

impl fmt::Debug for PartitionCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.get())
    }
}

impl fmt::Display for PartitionCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.get())
    }
}

impl TryFrom<u32> for PartitionCount {
    type Error = InvalidPartitionCount;
    fn try_from(count: u32) -> Result<Self, Self::Error> {
        Self::new(count)
    }
}

impl From<PartitionCount> for u32 {
    fn from(count: PartitionCount) -> Self {
        count.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BucketName, Key};

    fn position(bucket: &str, key: &str) -> Position {
        let bucket = BucketName::new(bucket).expect("valid");
        Position::of(&ObjectKey::new(&bucket, &Key::new(key.to_owned()).expect("valid")))
    }

    #[test]
    fn positions_are_fixed_for_ever() {
        assert_eq!(format!("{:?}", position("photos", "133422131")), "@c7226434b406cd71");
        assert_eq!(format!("{:?}", position("default", "a")), "@8b5eec818525d272");
        assert_eq!(format!("{:?}", position("carts", &"k".repeat(4096))), "@8538bcebac97ee96");
    }

    #[test]
    fn partitions_tile_the_ring() {
        for count in [8, 1024, 65_536] {
            let count = PartitionCount::new(count).expect("valid");
            let mut next = 0_u128;
            for partition in count.partitions() {
                let (first, last) = (count.first_position(partition), count.last_position(partition));
                assert_eq!(u128::from(first.point()), next);
                assert_eq!((count.partition_of(first), count.partition_of(last)), (partition, partition));
                next = u128::from(last.point()) + 1;
            }
            assert_eq!(next, 1 << 64);
        }
    }

    #[test]
    fn odd_counts_are_refused() {
        for count in [0, 1, 4, 1000, 131_072] {
            assert_eq!(PartitionCount::new(count), Err(InvalidPartitionCount { count }));
        }
    }
}
