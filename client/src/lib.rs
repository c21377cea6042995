//! The library applications use to reach a Quorate cluster.

pub mod batch;
mod error;
#[cfg(test)]
mod fixture;
pub mod operation;
mod problem;
pub mod routing;
mod time;
#[cfg(feature = "transport")]
pub mod transport;

pub use error::{Error, Outcome, Said, Tried};
pub use problem::ConnectProblem;
pub use routing::Router;
pub use time::Time;
