//! What a client, any stranger with a certificate, can send a node, and the hello before it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_ring::wire::{ClientMessage, Hello};
use quorate_ring_fuzz::decode_and_send_on;

fuzz_target!(|payload: &[u8]| {
    decode_and_send_on::<ClientMessage>(payload);
    decode_and_send_on::<Hello>(payload);
});
