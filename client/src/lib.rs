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
mod bucket;
#[cfg(feature = "transport")]
mod builder;
#[cfg(feature = "transport")]
mod client;
#[cfg(feature = "transport")]
mod drive;
#[cfg(feature = "transport")]
mod found;
#[cfg(feature = "transport")]
mod link;
#[cfg(feature = "transport")]
mod many;
#[cfg(feature = "transport")]
mod peer;
#[cfg(feature = "transport")]
mod scan;
#[cfg(feature = "transport")]
pub mod transport;
#[cfg(feature = "transport")]
mod update;

pub use error::{Error, Outcome, Said, Tried};
pub use problem::ConnectProblem;
pub use routing::Router;
pub use time::Time;

pub use quorate_ring::version::ContextToken;
pub use quorate_ring::wire::Durability;

#[cfg(feature = "transport")]
pub use bucket::{Bucket, Delete, Get, Put, RequestFuture};
#[cfg(feature = "transport")]
pub use builder::Builder;
#[cfg(feature = "transport")]
pub use client::Client;
#[cfg(feature = "transport")]
pub use found::{Found, Stored};
#[cfg(feature = "transport")]
pub use many::{GetMany, PutMany, Write};
#[cfg(feature = "transport")]
pub use scan::{Cursor, Entry, Page, Scan};
#[cfg(feature = "transport")]
pub use update::{Update, Updated};
