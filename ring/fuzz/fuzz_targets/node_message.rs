//! What a node can send a client, and the welcome before it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_ring::wire::{NodeMessage, Welcome};
use quorate_ring_fuzz::decode_and_send_on;

fuzz_target!(|payload: &[u8]| {
    decode_and_send_on::<NodeMessage>(payload);
    decode_and_send_on::<Welcome>(payload);
});
