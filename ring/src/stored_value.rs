//! [`StoredValue`]: a value as replicas keep it, with the moment of its expiry if it has one.
//!
//! Expiry is a function of the value and a wall clock alone. Whose clock has come to the moment drops the value from its container;
//! as the dot stays covered there, no peer, hint or repair brings it back. A clock that is wrong moves the moment by as much, and
//! nothing else.

use std::fmt;

use bytes::Bytes;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::version::Container;
use crate::{Value, WallTime};

/// A value, and when it expires.
///
/// Encoded as the value alone if it lives for ever, and else as a list of two: the milliseconds since the epoch, and the value. So a
/// value without expiry pays nothing for there being others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredValue {
    /// The value.
    pub value: Value,
    /// From when on it is no more: by the clock of the node that coordinated its write, and of whoever looks at it.
    pub expires_at: Option<WallTime>,
}

impl StoredValue {
    /// Whether its time has come.
    pub fn is_expired(&self, wall: WallTime) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= wall)
    }
}

/// A value that lives for ever.
impl From<Value> for StoredValue {
    fn from(value: Value) -> Self {
        Self { value, expires_at: None }
    }
}

impl fmt::Debug for StoredValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expires_at {
            Some(expires_at) => write!(f, "{:?} until {expires_at:?}", self.value),
            None => self.value.fmt(f),
        }
    }
}

impl Container<StoredValue> {
    /// Drops the values whose time has come; their dots stay covered. Gives how many they were.
    pub fn expire(&mut self, wall: WallTime) -> usize {
        let siblings = self.siblings();
        self.retain(|stored| !stored.is_expired(wall));
        siblings - self.siblings()
    }

    /// Whether there is a value whose time has come.
    pub fn has_expired(&self, wall: WallTime) -> bool {
        self.values().any(|(_, stored)| stored.is_expired(wall))
    }
}

impl Serialize for StoredValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.expires_at {
            Some(expires_at) => (expires_at, &self.value).serialize(serializer),
            None => self.value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for StoredValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StoredVisitor)
    }
}

struct StoredVisitor;

impl<'de> Visitor<'de> for StoredVisitor {
    type Value = StoredValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or when it expires and a value")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<StoredValue, E> {
        self.visit_byte_buf(bytes.to_vec())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<StoredValue, E> {
        Value::new(Bytes::from(bytes)).map(StoredValue::from).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<StoredValue, A::Error> {
        let short = |parts: usize| A::Error::invalid_length(parts, &self);
        let expires_at: WallTime = parts.next_element()?.ok_or_else(|| short(0))?;
        let value: Value = parts.next_element()?.ok_or_else(|| short(1))?;
        Ok(StoredValue { value, expires_at: Some(expires_at) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::{Actor, Dot, Incarnation};
    use crate::{NodeId, limits::VALUE_BYTES_MAX};

    fn value(bytes: &'static [u8]) -> Value {
        Value::new(bytes).expect("small")
    }

    fn until(bytes: &'static [u8], millis: u64) -> StoredValue {
        StoredValue { value: value(bytes), expires_at: Some(WallTime::from_millis(millis)) }
    }

    fn encoded(stored: &StoredValue) -> Vec<u8> {
        rmp_serde::to_vec(stored).expect("encodes")
    }

    #[test]
    fn a_value_that_lives_for_ever_is_encoded_as_the_value_alone() {
        let stored = StoredValue::from(value(b"tea"));
        assert_eq!(encoded(&stored), rmp_serde::to_vec(&stored.value).expect("encodes"));
        assert_eq!(encoded(&stored), b"\xc4\x03tea");
    }

    #[test]
    fn a_value_that_expires_is_encoded_behind_its_moment() {
        assert_eq!(encoded(&until(b"tea", 1_700_000_000_000)), b"\x92\xcf\x00\x00\x01\x8b\xcf\xe5\x68\x00\xc4\x03tea");
    }

    #[test]
    fn values_with_and_without_expiry_are_read_back() {
        for stored in [value(b"").into(), value(b"\x92\x01").into(), until(b"", 0), until(b"tea", u64::MAX)] {
            assert_eq!(rmp_serde::from_slice::<StoredValue>(&encoded(&stored)).expect("decodes"), stored);
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bytes in
            [&b"\x90"[..], b"\x91\x01", b"\x93\x01\xc4\x00\x01", b"\x92\xc4\x00\x01", b"\x07", b"\xc0", b"\x80"]
        {
            assert!(rmp_serde::from_slice::<StoredValue>(bytes).is_err(), "{bytes:?}");
        }
        let large = rmp_serde::to_vec(&Bytes::from(vec![0; VALUE_BYTES_MAX + 1])).expect("encodes");
        assert!(rmp_serde::from_slice::<StoredValue>(&large).is_err());
    }

    #[test]
    fn an_expired_value_is_dropped_and_stays_known() {
        let dot = |counter| Dot::new(Actor::new(NodeId::new(1).expect("not 0"), Incarnation::new(1)), counter);
        let wall = WallTime::from_millis;
        let mut container = Container::empty();
        container.add(dot(1), until(b"early", 10));
        container.add(dot(2), value(b"for ever").into());
        container.add(dot(3), until(b"late", 30));
        let whole = container.clone();
        assert!(!container.has_expired(wall(9)) && container.has_expired(wall(10)));
        assert_eq!((container.expire(wall(9)), container.expire(wall(10)), container.expire(wall(29))), (0, 1, 0));
        assert!(container.dots().eq([dot(2), dot(3)]));
        // Whoever still has it does not bring it back, and merged with it loses it, too.
        let expired = container.clone();
        container.sync(whole.clone());
        assert_eq!(container, expired);
        let mut merged = whole;
        merged.sync(expired.clone());
        assert_eq!(merged, expired);
    }
}
