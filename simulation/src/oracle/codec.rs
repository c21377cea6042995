//! O17: what is decoded is what was encoded, for every message that is sent; and what was corrupted is not taken for a message.

use std::fmt::{Debug, Display};

use quorate_ring::wire::frame;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Oracle, Violation};

/// Encodes a message as it is sent, into an empty buffer, and decodes it as it is received.
///
/// # Errors
/// If anything changed on the way.
pub fn check<T>(message: &T, buffer: &mut Vec<u8>) -> Result<T, Violation>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let wrong = |problem: &dyn Display| Violation::new(Oracle::Codec, format_args!("{problem}: {message:?}"));
    frame::encode(message, buffer).map_err(|error| wrong(&error))?;
    let mut decoder = frame::Decoder::new();
    decoder.push(buffer);
    let payload = decoder.next().map_err(|error| wrong(&error))?.ok_or_else(|| wrong(&"the frame is cut"))?;
    let decoded: T = frame::decode(&payload).map_err(|error| wrong(&error))?;
    if decoded != *message || decoder.buffered_bytes() != 0 {
        return Err(wrong(&format_args!("decoded as {decoded:?}")));
    }
    Ok(decoded)
}

/// Gives a corrupted frame to a decoder.
///
/// # Errors
/// If it is taken for a good one.
pub fn check_corrupted(bytes: &[u8]) -> Result<(), Violation> {
    let mut decoder = frame::Decoder::new();
    decoder.push(bytes);
    match decoder.next() {
        Ok(Some(_)) => Err(Violation::new(Oracle::Codec, "a corrupted frame was taken for a good one")),
        Ok(None) | Err(_) => Ok(()),
    }
}
