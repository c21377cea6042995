//! Moving data to the node that should have it.

pub mod hint;
