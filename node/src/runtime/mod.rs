//! Everything of a node that does I/O: its configuration, sockets, threads and storage.

pub mod config;
