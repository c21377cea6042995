//! What a node can send its peer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_ring::wire::PeerMessage;
use quorate_ring_fuzz::decode_and_send_on;

fuzz_target!(|payload: &[u8]| {
    decode_and_send_on::<PeerMessage>(payload);
});
