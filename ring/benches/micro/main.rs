//! What a put and a get are made of: placement, versions, contexts, messages. See [`harness`] for how to ask.
//!
//! `cargo bench -p quorate-ring --bench micro`; with `-- clock` only the operations with that in their name.

mod harness;
mod operations;

fn main() {
    harness::measure(operations::operations());
}
