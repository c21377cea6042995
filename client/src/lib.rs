//! The library applications use to reach a Quorate cluster.

#[cfg(feature = "transport")]
pub mod transport;
