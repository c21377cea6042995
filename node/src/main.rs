//! The `quorate` binary: storage node, client commands and demo in one.

mod cli;

use std::process::ExitCode;

/// Also RocksDB's, since it takes the place of `malloc`. How it is set is in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::run()
}
