//! A stream of bytes that arrives in pieces: however it is cut, the same frames come out.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use quorate_ring::wire::frame::{self, Decoder, FrameError};

/// Largest payload in these runs: inputs are smaller, so both sides of the bound are met.
const PAYLOAD_BYTES_MAX: usize = 256;

fuzz_target!(|input: &[u8]| {
    let Some(([mode, cut], rest)) = input.split_first_chunk() else { return };
    // A checksum is beyond a fuzzer's luck: half of the streams are made of sound frames with something behind them.
    let stream = if mode & 1 == 0 { rest.to_vec() } else { sound_frames(rest) };
    let whole = decode(&[&stream]);
    assert_eq!(whole, decode(&pieces(&stream, *cut)));
});

/// Frames of what lies between the bytes `ff`, and what is behind the last of them as it is.
fn sound_frames(input: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut parts = input.split(|byte| *byte == 0xff).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            stream.extend_from_slice(part);
        } else {
            frame::encode(&Bytes::copy_from_slice(part), &mut stream).expect("smaller than a frame");
        }
    }
    stream
}

/// Cuts the stream into pieces whose sizes follow from `cut`: all alike, or irregular.
fn pieces(stream: &[u8], cut: u8) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let (mut rest, mut size) = (stream, usize::from(cut >> 1) + 1);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = behind;
        if cut & 1 == 1 {
            size = size * 7 % 61 + 1;
        }
    }
    pieces
}

/// The payloads of the frames, and how the stream ended. Pieces are given in both ways, and not always drained in between.
fn decode(pieces: &[&[u8]]) -> (Vec<Bytes>, Result<(), FrameError>) {
    let mut decoder = Decoder::with_limit(PAYLOAD_BYTES_MAX);
    let mut payloads = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        if index % 2 == 0 {
            decoder.push(piece);
        } else {
            decoder.extend(Bytes::copy_from_slice(piece));
        }
        if index % 3 == 2 {
            continue;
        }
        if let Err(error) = drain(&mut decoder, &mut payloads) {
            return (payloads, Err(error));
        }
    }
    let end = drain(&mut decoder, &mut payloads);
    (payloads, end)
}

fn drain(decoder: &mut Decoder, payloads: &mut Vec<Bytes>) -> Result<(), FrameError> {
    while let Some(payload) = decoder.next()? {
        assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        payloads.push(payload);
    }
    Ok(())
}
