//! [`ContextToken`]: what a read gives to a client and a write passes back, opaque and authenticated. A context can discard
//! values that its sender never saw, so one that the cluster did not make is refused.
//!
//! A token is a format byte, the context's vector in MessagePack, and the first 16 bytes of a keyed BLAKE3 hash over both and
//! the key. It is not encrypted: whoever reads it learns how many writes each node coordinated.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use super::VersionVector;
use crate::limits::CONTEXT_BYTES_MAX;
use crate::{ClusterName, ObjectKey};

const FORMAT: u8 = 1;
const TAG_BYTES: usize = 16;
/// Format, the header of an array of 16 to 65,535 actors, tag.
const FRAME_BYTES: usize = 1 + 3 + TAG_BYTES;
/// Two array headers, node (5), incarnation (9), counter (9).
const ENTRY_BYTES_MAX: usize = 2 + 5 + 9 + 9;
/// Most actors of a sealed vector, so that every token is within [`CONTEXT_BYTES_MAX`].
const ENTRIES_MAX: usize = (CONTEXT_BYTES_MAX - FRAME_BYTES) / ENTRY_BYTES_MAX;

/// Why a context was refused. The client is at fault; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum InvalidContext {
    /// It is too short to be one.
    #[error("the context has {bytes} bytes, too few to be one")]
    #[serde(rename = "t")]
    Truncated {
        /// How many bytes there were.
        bytes: usize,
    },
    /// It is of a format that this release does not know.
    #[error("the context has the unknown format {format}")]
    #[serde(rename = "f")]
    Format {
        /// The format's number.
        format: u8,
    },
    /// Its authenticator is wrong.
    #[error("the context was not made by this cluster for this key, or was altered")]
    #[serde(rename = "a")]
    Forged,
    /// It is too long to be one.
    #[error("the context has {bytes} bytes; a context has at most {CONTEXT_BYTES_MAX}")]
    #[serde(rename = "l")]
    TooLong {
        /// How many bytes there were.
        bytes: usize,
    },
    /// Its text form is not one.
    #[error("the context is no text of pairs of hexadecimal digits")]
    #[serde(rename = "x")]
    NotText,
}

/// What a read gives to its client and a write of the same key passes back: "I have seen all this". Opaque, at most 64 KiB.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct ContextToken(Bytes);

impl ContextToken {
    /// A token as it was received. Whether it is genuine, only a node can tell.
    ///
    /// # Errors
    /// [`InvalidContext::TooLong`].
    pub fn from_bytes(bytes: Bytes) -> Result<Self, InvalidContext> {
        match bytes.len() {
            bytes if CONTEXT_BYTES_MAX < bytes => Err(InvalidContext::TooLong { bytes }),
            _ => Ok(Self(bytes)),
        }
    }

    /// The token's bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The token in hexadecimal digits, for command lines and JSON.
    pub fn to_text(&self) -> String {
        let digit = |value: u8| char::from_digit(u32::from(value), 16).expect("four bits are a hexadecimal digit");
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// Reads back what [`Self::to_text`] gave.
    ///
    /// # Errors
    /// [`InvalidContext::NotText`] or [`InvalidContext::TooLong`].
    pub fn from_text(text: &str) -> Result<Self, InvalidContext> {
        let (pairs, odd) = text.as_bytes().as_chunks::<2>();
        if !odd.is_empty() {
            return Err(InvalidContext::NotText);
        }
        if CONTEXT_BYTES_MAX < pairs.len() {
            return Err(InvalidContext::TooLong { bytes: pairs.len() });
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let byte = |&[high, low]: &[u8; 2]| Some(digit(high)? * 16 + digit(low)?);
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        Ok(Self(bytes.ok_or(InvalidContext::NotText)?.into()))
    }
}

impl fmt::Debug for ContextToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContextToken({} bytes)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for ContextToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_bytes(Bytes::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// What makes a cluster's contexts, and tells them from others. The same in all its nodes, and nowhere else.
#[derive(Clone)]
pub struct ContextKey([u8; blake3::KEY_LEN]);

impl ContextKey {
    /// This key.
    pub const fn new(key: [u8; blake3::KEY_LEN]) -> Self {
        Self(key)
    }

    /// The key that follows from a secret which all nodes of the cluster are given. The secret should hold at least 128 bits that
    /// nobody can guess; the name keeps apart two clusters that were given the same one.
    pub fn derive(secret: &[u8], cluster: &ClusterName) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("quorate: authentication of contexts, format 1");
        update(&mut hasher, cluster.as_str().as_bytes());
        update(&mut hasher, secret);
        Self(*hasher.finalize().as_bytes())
    }

    /// What tells this key from another and does not reveal it.
    pub fn fingerprint(&self) -> u64 {
        let hash = blake3::keyed_hash(&self.0, b"quorate: fingerprint of the key of contexts, format 1");
        u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }

    /// The token of a context for a key. One of no events (nothing was found) is as good as any other.
    ///
    /// A vector of more than 2,600 actors is cut to fit a token: the context then covers less, which keeps a sibling too many,
    /// and never loses one.
    pub fn seal(&self, key: &ObjectKey, vector: &VersionVector) -> ContextToken {
        let fitting: Vec<_> = vector.iter().take(ENTRIES_MAX).collect();
        let mut token = vec![FORMAT];
        rmp_serde::encode::write(&mut token, &fitting).expect("a vector encodes into memory");
        let tag = self.tag(key, &token);
        token.extend_from_slice(&tag);
        assert!(token.len() <= CONTEXT_BYTES_MAX, "a fitting vector makes a token within the bound");
        ContextToken(token.into())
    }

    /// The context of a token, if this cluster made it for this key.
    ///
    /// # Errors
    /// What is wrong with it, as [`InvalidContext`].
    pub fn open(&self, key: &ObjectKey, token: &ContextToken) -> Result<VersionVector, InvalidContext> {
        let truncated = InvalidContext::Truncated { bytes: token.0.len() };
        let (sealed, tag) = token.0.split_last_chunk::<TAG_BYTES>().ok_or_else(|| truncated.clone())?;
        let (&format, vector) = sealed.split_first().ok_or(truncated)?;
        if format != FORMAT {
            return Err(InvalidContext::Format { format });
        }
        if !equal_in_constant_time(&self.tag(key, sealed), tag) {
            return Err(InvalidContext::Forged);
        }
        rmp_serde::from_slice(vector).map_err(|_| InvalidContext::Forged)
    }

    fn tag(&self, key: &ObjectKey, sealed: &[u8]) -> [u8; TAG_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        update(&mut hasher, key.encoded());
        update(&mut hasher, sealed);
        *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")
    }
}

impl fmt::Debug for ContextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContextKey(hidden)")
    }
}

/// Hashes a part behind its length, so that no two lists of parts hash the same bytes.
fn update(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}

/// [`blake3::Hash`] compares without telling by its duration where two differ; zeros pad the tags to its length.
fn equal_in_constant_time(left: &[u8; TAG_BYTES], right: &[u8; TAG_BYTES]) -> bool {
    let padded = |tag: &[u8; TAG_BYTES]| {
        let mut hash = [0; blake3::OUT_LEN];
        hash[..TAG_BYTES].copy_from_slice(tag);
        blake3::Hash::from_bytes(hash)
    };
    padded(left) == padded(right)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{object_key, vector};
    use super::*;
    use crate::version::{Actor, Dot, Incarnation};

    fn key() -> ContextKey {
        ContextKey::derive(b"secret", &ClusterName::new("c").expect("valid"))
    }

    #[test]
    fn a_token_opens_only_for_its_key_and_cluster() {
        for vector in [vector(&[]), vector(&[(1, 7), (2, u64::MAX)])] {
            let token = key().seal(&object_key("a"), &vector);
            assert_eq!(key().open(&object_key("a"), &token), Ok(vector));
            assert_eq!(key().open(&object_key("b"), &token), Err(InvalidContext::Forged));
            let other = ContextKey::derive(b"secret", &ClusterName::new("d").expect("valid"));
            assert_eq!(other.open(&object_key("a"), &token), Err(InvalidContext::Forged));
        }
    }

    #[test]
    fn every_altered_or_cut_token_is_refused() {
        let token = key().seal(&object_key("a"), &vector(&[(1, 7)]));
        for bit in 0..token.0.len() * 8 {
            let mut bytes = token.0.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let altered = ContextToken::from_bytes(bytes.into()).expect("short enough");
            assert!(key().open(&object_key("a"), &altered).is_err(), "bit {bit}");
        }
        for bytes in 0..token.0.len() {
            let cut = ContextToken::from_bytes(token.0.slice(..bytes)).expect("short enough");
            assert!(key().open(&object_key("a"), &cut).is_err(), "{bytes} bytes");
        }
    }

    #[test]
    fn text_form_gives_back_the_token() {
        let token = key().seal(&object_key("a"), &vector(&[(1, 7)]));
        assert_eq!(ContextToken::from_text(&token.to_text()), Ok(token));
        for text in ["0", "0g", "é", "+1"] {
            assert_eq!(ContextToken::from_text(text), Err(InvalidContext::NotText), "{text}");
        }
    }

    #[test]
    fn tokens_up_to_the_bound_are_taken_and_longer_ones_refused() {
        let taken = ContextToken(vec![0; CONTEXT_BYTES_MAX].into());
        assert_eq!(ContextToken::from_bytes(taken.as_bytes().clone()), Ok(taken.clone()));
        assert_eq!(ContextToken::from_text(&taken.to_text()), Ok(taken));
        for bytes in [CONTEXT_BYTES_MAX + 1, CONTEXT_BYTES_MAX + 2] {
            let refused = Err(InvalidContext::TooLong { bytes });
            assert_eq!(ContextToken::from_bytes(vec![0; bytes].into()), refused);
            assert_eq!(ContextToken::from_text(&"00".repeat(bytes)), refused);
        }
    }

    #[test]
    fn too_many_actors_are_cut_to_a_context_that_covers_less() {
        let node = crate::NodeId::new(u32::MAX).expect("not 0");
        let dot = |number: u64| Dot::new(Actor::new(node, Incarnation::new(u64::MAX - number)), u64::MAX);
        let vector: VersionVector = (0..4000).map(dot).collect();
        let token = key().seal(&object_key("a"), &vector);
        assert_eq!(token.0.len(), FRAME_BYTES + ENTRIES_MAX * ENTRY_BYTES_MAX, "these actors take as much as any can");
        let opened = key().open(&object_key("a"), &token).expect("genuine");
        assert_eq!(opened.len(), ENTRIES_MAX);
        assert!(2_600 <= ENTRIES_MAX && vector.dominates(&opened));
    }

    #[test]
    fn the_key_is_hidden() {
        assert_eq!(format!("{:?}", ContextKey::new([7; 32])), "ContextKey(hidden)");
    }
}
