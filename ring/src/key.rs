//! What a value is stored under: a bucket and a key in it, and the value itself. Validated on construction, so that nothing
//! behind the border has to check again.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::{BUCKET_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// Why a bucket name or a key was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The key has no bytes.
    #[error("the key is empty; a key has 1 to {KEY_BYTES_MAX} bytes")]
    KeyEmpty,
    /// The key has more than [`KEY_BYTES_MAX`] bytes.
    #[error("the key has {bytes} bytes; a key has at most {KEY_BYTES_MAX}")]
    KeyTooLong {
        /// How long it was.
        bytes: usize,
    },
    /// The bucket name breaks the rules of [`BucketName`].
    #[error(
        "{name:?} is no bucket name: it has 1 to {BUCKET_BYTES_MAX} of the characters a-z, 0-9, '.', '_' and '-', and starts \
         with a letter or a digit"
    )]
    Bucket {
        /// What was given, cut to a readable length.
        name: String,
    },
    /// The bytes that should be an encoded [`ObjectKey`] are not one.
    #[error("malformed object key of {bytes} bytes")]
    Malformed {
        /// How many bytes there were.
        bytes: usize,
    },
}

/// Why a value was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value has {bytes} bytes; a value has at most {VALUE_BYTES_MAX} (8 MiB)")]
pub struct InvalidValue {
    /// How large it was.
    pub bytes: usize,
}

/// The name of a bucket, a namespace of keys: 1 to 64 of `a-z 0-9 . _ -`, starting with a letter or a digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(Box<str>);

impl BucketName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidKey::Bucket`] with the rule, if the name breaks it.
    pub fn new(name: &str) -> Result<Self, InvalidKey> {
        if is_bucket_name(name.as_bytes()) {
            return Ok(Self(name.into()));
        }
        Err(InvalidKey::Bucket { name: name.chars().take(BUCKET_BYTES_MAX + 1).collect() })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for BucketName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for BucketName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <&str>::deserialize(deserializer)?;
        Self::new(name).map_err(serde::de::Error::custom)
    }
}

fn is_bucket_name(name: &[u8]) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    let first = name.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    first && name.len() <= BUCKET_BYTES_MAX && name.iter().all(inner)
}

/// A key inside a bucket: 1 byte to 4 KiB, any bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    /// Checks a key.
    ///
    /// # Errors
    /// [`InvalidKey::KeyEmpty`] or [`InvalidKey::KeyTooLong`].
    pub fn new(key: impl Into<Bytes>) -> Result<Self, InvalidKey> {
        let key = key.into();
        match key.len() {
            0 => Err(InvalidKey::KeyEmpty),
            bytes if bytes > KEY_BYTES_MAX => Err(InvalidKey::KeyTooLong { bytes }),
            _ => Ok(Self(key)),
        }
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.0))
    }
}

/// A bucket and a key in it, in one shared buffer: a byte with the bucket's length, the bucket, the key.
///
/// The order is that of the buffer. It is the form on the wire and, behind the position, on disk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Bytes);

impl ObjectKey {
    /// Joins a bucket and a key.
    pub fn new(bucket: &BucketName, key: &Key) -> Self {
        let (bucket, key) = (bucket.as_str().as_bytes(), key.as_bytes());
        let mut encoded = Vec::with_capacity(1 + bucket.len() + key.len());
        encoded.push(u8::try_from(bucket.len()).expect("a bucket name has at most 64 bytes"));
        encoded.extend_from_slice(bucket);
        encoded.extend_from_slice(key);
        Self(encoded.into())
    }

    /// Reads the encoded form back, checking it wholly.
    ///
    /// # Errors
    /// What is wrong with it, as [`InvalidKey`].
    pub fn decode(encoded: Bytes) -> Result<Self, InvalidKey> {
        let malformed = || InvalidKey::Malformed { bytes: encoded.len() };
        let (&length, rest) = encoded.split_first().ok_or_else(malformed)?;
        let (bucket, key) = rest.split_at_checked(usize::from(length)).ok_or_else(malformed)?;
        if !is_bucket_name(bucket) {
            return Err(InvalidKey::Bucket { name: String::from_utf8_lossy(bucket).into_owned() });
        }
        match key.len() {
            0 => Err(InvalidKey::KeyEmpty),
            bytes if bytes > KEY_BYTES_MAX => Err(InvalidKey::KeyTooLong { bytes }),
            _ => Ok(Self(encoded)),
        }
    }

    /// The encoded form.
    pub fn encoded(&self) -> &Bytes {
        &self.0
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        let end = 1 + usize::from(self.0[0]);
        std::str::from_utf8(&self.0[1..end]).expect("a bucket name is ASCII, checked on construction")
    }

    /// The key inside the bucket.
    pub fn key(&self) -> Key {
        Key(self.0.slice(1 + usize::from(self.0[0])..))
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket(), self.key())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket(), self.key())
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::decode(Bytes::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A value: up to 8 MiB of any bytes, shared and never copied.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Bytes);

impl Value {
    /// Checks a value.
    ///
    /// # Errors
    /// [`InvalidValue`] if it is larger than 8 MiB.
    pub fn new(value: impl Into<Bytes>) -> Result<Self, InvalidValue> {
        let value = value.into();
        if VALUE_BYTES_MAX < value.len() {
            return Err(InvalidValue { bytes: value.len() });
        }
        Ok(Self(value))
    }

    /// The value's bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The value's bytes, taken out.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 32;
        let shown = &self.0[..self.0.len().min(SHOWN)];
        write!(f, "{:?}", String::from_utf8_lossy(shown))?;
        if SHOWN < self.0.len() { write!(f, "... ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Bytes::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_key_gives_back_its_parts() {
        let bucket = BucketName::new("photos.2017").expect("valid");
        let key = Key::new("a/b").expect("valid");
        let object = ObjectKey::new(&bucket, &key);
        assert_eq!((object.bucket(), object.key()), ("photos.2017", key));
        assert_eq!(ObjectKey::decode(object.encoded().clone()), Ok(object));
    }

    #[test]
    fn bad_names_keys_and_values_are_refused_with_the_rule() {
        for name in ["", "A", ".x", "a b", "ä", &"a".repeat(65)] {
            assert!(BucketName::new(name).is_err(), "{name:?}");
        }
        assert_eq!(Key::new(""), Err(InvalidKey::KeyEmpty));
        assert_eq!(Key::new(vec![0; 4097]), Err(InvalidKey::KeyTooLong { bytes: 4097 }));
        assert!(Key::new(vec![0; 4096]).is_ok());
        assert!(Value::new(vec![0; VALUE_BYTES_MAX]).is_ok());
        assert_eq!(Value::new(vec![0; VALUE_BYTES_MAX + 1]), Err(InvalidValue { bytes: VALUE_BYTES_MAX + 1 }));
    }

    #[test]
    fn no_bytes_make_decode_panic() {
        for bytes in [&b""[..], b"\x05ab", b"\x01a", b"\x00k", b"\xff"] {
            assert!(ObjectKey::decode(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }
}
