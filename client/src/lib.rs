//! The library applications use to reach a Quorate cluster: tunable quorums, requests sent straight to a node that holds the key,
//! retries that never do a write twice.
//!
//! # Connect
//!
//! Any node that answers is enough; it tells of all the others. Both sides present certificates of the cluster's CA
//! (`quorate cert` makes them).
//!
//! ```no_run
//! # async fn run() -> Result<(), quorate_client::Error> {
//! use std::path::Path;
//!
//! use quorate_client::Client;
//! use quorate_client::transport::Credentials;
//!
//! let credentials = Credentials::load(Path::new("ca.pem"), Path::new("client.pem"), Path::new("client.key"))?;
//! let client = Client::builder().cluster("demo").seeds(["127.0.0.1:7401"]).credentials(credentials).connect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Read and write
//!
//! A read finds all values that concurrent writes have left, the *siblings*: none, if there is no such key; nearly always one. It
//! also gives a *context*, which a write passes back to say "I have seen these": exactly these are replaced. A write without a
//! context replaces nothing, so nothing is lost by mistake.
//!
//! ```no_run
//! # async fn run(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
//! use quorate_client::Durability;
//!
//! let photos = client.bucket("photos")?;
//! let found = photos.get("133422131").r(2).await?;
//! let stored = photos.put("133422131", "a picture").context(found.context()).w(3).durability(Durability::Synced).await?;
//! assert_eq!(stored.siblings(), 1);
//! photos.delete("133422131").context(stored.context()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Merge
//!
//! What several writers change at once is best kept in values that can be merged. An update reads, merges and writes until no
//! sibling is left. The merge may be called again with its own earlier result among the siblings; adding to a set does no harm then.
//!
//! ```no_run
//! # async fn run(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
//! use std::collections::BTreeSet;
//!
//! let carts = client.bucket("carts")?;
//! let updated = carts
//!     .update("ann", |siblings| {
//!         let items = siblings.iter().flat_map(|cart| cart.split(|byte| *byte == b'\n'));
//!         let items: BTreeSet<&[u8]> = items.chain([&b"milk"[..]]).collect();
//!         items.into_iter().collect::<Vec<_>>().join(&b'\n')
//!     })
//!     .await?;
//! println!("{}", String::from_utf8_lossy(updated.value()));
//! # Ok(())
//! # }
//! ```
//!
//! # Many keys
//!
//! [`Bucket::get_many`] and [`Bucket::put_many`] send one message to each node, not one for each key; [`Bucket::scan`] walks a whole
//! bucket.
//!
//! ```no_run
//! # async fn run(client: quorate_client::Client) -> Result<(), quorate_client::Error> {
//! let views = client.bucket("views")?;
//! for result in views.put_many([("a", "1"), ("b", "2")]).await {
//!     result?;
//! }
//! let mut scan = views.scan();
//! while let Some(entry) = scan.next().await? {
//!     println!("{}", String::from_utf8_lossy(entry.key()));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # When something fails
//!
//! Each request has a time in which it must be over ([`Builder::timeout`], or its own). Within it, a read is asked of other nodes after
//! any failure that can pass. A write is sent again only if it surely did nothing; else it ends as [`Error::OutcomeUnknown`], and the
//! next step is to read. [`Error::outcome`] and [`Error::is_transient`] tell a program what [`Error`]'s text tells a person.
//!
//! # Without I/O
//!
//! Whom to ask, what to try again and for how long is decided by [`routing`], [`operation`] and [`batch`], which build without the
//! feature `transport` and do no I/O. The simulator's clients run the same code.

pub mod batch;
mod error;
#[cfg(test)]
mod fixture;
mod latency;
pub mod operation;
mod problem;
pub mod routing;
mod throttle;

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
pub use quorate_ring::Time;
pub use routing::Router;

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
