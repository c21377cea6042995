//! What a shard lets in, and when: foreground before background, the quick before the slow, and no one client before all others
//! (the Dynamo paper, section 6.5; Riak's `riak_core_bg_manager`).
//!
//! | part | decides | after |
//! |---|---|---|
//! | [`latency`] | how long a peer usually takes to answer a read | |
//! | [`ranking`] | which replicas a read asks | C3 (Suresh, Canini, Schmid, Feldmann: "C3: Cutting Tail Latency in Cloud Data Stores via Adaptive Replica Selection", NSDI 2015) |
//! | [`limit`] | how many requests are worked on at once | CoDel (Nichols and Jacobson: "Controlling Queue Delay", CACM 2012) |
//! | [`share`] | whether a client gets more of them | |
//! | [`pacer`], [`waiting`] | how much background work is done, and what of it waits | the Dynamo paper, section 6.5 |
//! | [`hedge`] | whether a read that is slow may ask one more | Dean and Barroso: "The Tail at Scale", CACM 2013 |
//!
//! All of it is pure: whole numbers, no clock and no chance. What is decided here never changes what a request means, only whom it asks
//! and when.

pub mod hedge;
pub mod latency;
pub mod limit;
pub mod pacer;
pub mod ranking;
pub mod share;
pub mod waiting;
