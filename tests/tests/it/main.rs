//! What is promised, tried on real processes: each test starts clusters of its own, breaks them, and looks.

mod application;
mod bad_input;
mod bad_setup;
mod bench;
mod convergence;
mod crashes;
mod cut_network;
mod demo_and_examples;
mod disk_full;
mod elastic;
mod elastic_crashes;
mod elastic_refused;
mod load_and_dump;
mod metrics;
mod serving;
mod support;
mod unreachable;
mod waiting;
mod wire;
