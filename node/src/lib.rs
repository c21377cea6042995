//! One Quorate storage node.

pub mod storage;
