//! One Quorate storage node.

#[cfg(feature = "runtime")]
pub mod runtime;
pub mod storage;
