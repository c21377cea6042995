//! UDP over loopback: datagrams sent and received, each by a call of its own, and as trains that the kernel cuts and joins (GSO and GRO).

use std::io::{ErrorKind, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};

use super::{BATCHES, measured};

/// A small message, and one that hardly fits.
const DATAGRAM_BYTES: [usize; 2] = [100, 1024];
/// QUIC sends no more than so many packets in one call.
const TRAIN: usize = 10;
/// Largest that one call sends or receives.
const CALL_BYTES_MAX: usize = 64 * 1024;

pub(super) fn measure() {
    for bytes in DATAGRAM_BYTES {
        for batch in BATCHES {
            one_by_one(bytes, batch);
        }
        trains(bytes);
    }
}

fn sockets() -> (UdpSocket, UdpSocket) {
    let bound = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let (from, to) = (bound(), bound());
    from.connect(to.local_addr().expect("it is bound")).expect("loopback is there");
    (from, to)
}

fn one_by_one(bytes: usize, batch: usize) {
    let ((from, to), datagram, mut received) = (sockets(), vec![0xa5; bytes], vec![0; bytes]);
    measured(&format!("UDP: a datagram of {bytes} B sent and received, {batch} at a time"), batch, || {
        (0..batch).for_each(|_| _ = from.send(&datagram).expect("the buffer holds a batch"));
        (0..batch).for_each(|_| assert_eq!(to.recv(&mut received).expect("it was sent"), bytes));
    });
}

fn trains(bytes: usize) {
    let (from, to) = sockets();
    let state = |socket: &UdpSocket| UdpSocketState::new(socket.into()).expect("the kernel knows the options");
    let (sender, receiver) = (state(&from), state(&to));
    if sender.max_gso_segments() < TRAIN {
        println!("| UDP: trains of {TRAIN} datagrams | this kernel has no GSO | |");
        return;
    }
    let (train, mut received) = (vec![0xa5; bytes * TRAIN], vec![0; CALL_BYTES_MAX]);
    let transmit = Transmit {
        destination: to.local_addr().expect("it is bound"),
        ecn: None,
        contents: &train,
        segment_size: Some(bytes),
        src_ip: None,
    };
    measured(&format!("UDP: a datagram of {bytes} B sent and received, trains of {TRAIN}"), TRAIN, || {
        sender.try_send((&from).into(), &transmit).expect("the buffer holds a train");
        let mut wanted = train.len();
        while 0 < wanted {
            wanted -= receive(&receiver, &to, &mut received);
        }
    });
}

/// Bytes of what has arrived: quinn's sockets do not block.
fn receive(state: &UdpSocketState, socket: &UdpSocket, buffer: &mut [u8]) -> usize {
    let mut meta = [RecvMeta::default()];
    match state.recv(socket.into(), &mut [IoSliceMut::new(buffer)], &mut meta) {
        Ok(_) => meta[0].len,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("a socket of loopback failed: {error}"),
    }
}
