//! The `quorate` binary: storage node, client commands and demo in one.

mod cli;

use std::process::ExitCode;

/// Also RocksDB's, since it takes the place of `malloc`. It asks the kernel for huge pages (`.cargo/config.toml`): memtables and caches are met
/// at random, and with small pages nearly every step there would miss the processor's translations of addresses.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::run()
}
