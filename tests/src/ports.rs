//! Ports for nodes. They lie below those that the kernel gives to sockets that ask for any, so that no client takes the port of a
//! node that is down for a while.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// An address on loopback that nobody listens on, and that this process gives out once.
///
/// # Panics
/// If there is none.
pub(crate) fn free_address() -> SocketAddr {
    // Test programs that run at the same time begin in different places; where they meet, binding shows it.
    let start = (process::id() % 180) as u16 * (COUNT / 180);
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free UDP port from {FIRST} to {}", FIRST + COUNT);
}
