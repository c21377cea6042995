//! Settings of QUIC connections and of the UDP sockets below them, the same for nodes and clients.

use std::io;
use std::net::SocketAddr;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::{
    AckFrequencyConfig, AsyncUdpSocket, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TokioRuntime,
    TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};

/// Largest UDP payload tried, found by probing the path (RFC 8899).
///
/// Larger packets cost less CPU per byte, and loopback and jumbo links carry them. It is not larger because quinn hands the
/// kernel up to ten packets in one call, which may not exceed 64 KiB together: the kernel would refuse the call, and quinn takes
/// that for a lost probe and loses all ten.
const UDP_PAYLOAD_BYTES_MAX: u16 = 6_500;
/// What every path carries (RFC 9000, section 14), and where probing begins.
const INITIAL_MTU: u16 = 1_200;
/// Bytes in flight before the first acknowledgement. Larger than the Internet's usual ten packets, since links inside a cluster
/// are fast and a stream's first request may be a value of some hundred KiB.
const INITIAL_WINDOW_BYTES: u64 = 256 * 1024;
/// How much of one stream, and of all streams of a connection, the other side may send ahead of the reader. A few of the largest
/// values, so that a large one does not wait for the window to be opened piece by piece.
const STREAM_WINDOW_BYTES: u32 = 32 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;
/// Bytes written and not yet acknowledged, per connection.
const SEND_WINDOW_BYTES: u64 = 32 * 1024 * 1024;
/// What is asked of the kernel for each direction of a socket. It gives what its limits (`net.core.rmem_max`, `wmem_max`) allow.
const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of datagrams that wait to be sent, or to be taken. They are a node's probes of others, which are worth nothing when they are old: of
/// more the oldest are dropped. Clients send none.
const DATAGRAM_BUFFER_BYTES: usize = 64 * 1024;
/// Streams that the other side may have open at once. A few are used; the rest is room for later releases.
const STREAMS_MAX: u32 = 64;

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Opened it, and keeps it alive.
    Dialing,
    /// Accepted it. Answers to keep-alives are enough for it to notice when the other side is gone.
    Accepting,
}

/// How soon a silent connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long nothing is said before the dialing side asks for a sign of life. Default 1 s. At most a third of `idle_timeout`,
    /// so that one lost packet does not end a connection.
    pub keep_alive: Duration,
    /// How long nothing is heard before the connection counts as lost; the smaller of both sides' holds. Default 4 s: longer
    /// than most pauses of a loaded machine, short beside a person's patience.
    pub idle_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { keep_alive: Duration::from_secs(1), idle_timeout: Duration::from_secs(4) }
    }
}

/// Settings of a connection, with this address if it is known.
pub fn transport_config(side: Side, remote: Option<SocketAddr>, timing: Timing) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    if side == Side::Dialing {
        config.keep_alive_interval(Some(timing.keep_alive));
    }
    let longest = IdleTimeout::from(VarInt::MAX);
    config.max_idle_timeout(Some(IdleTimeout::try_from(timing.idle_timeout).unwrap_or(longest)));
    config.max_concurrent_bidi_streams(STREAMS_MAX.into());
    config.max_concurrent_uni_streams(STREAMS_MAX.into());
    config.stream_receive_window(STREAM_WINDOW_BYTES.into());
    config.receive_window(CONNECTION_WINDOW_BYTES.into());
    config.send_window(SEND_WINDOW_BYTES);
    // Streams of one priority take turns, so that background streams cannot hold up foreground ones behind a large value.
    config.send_fairness(true);
    // Until the first round trip is measured. The Internet's third of a second would make a lost first packet cost a second.
    config.initial_rtt(Duration::from_millis(30));
    config.mtu_discovery_config(Some(mtu_discovery(remote)));
    config.ack_frequency_config(Some(ack_frequency()));
    config.datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES));
    config.datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES);
    let mut cubic = CubicConfig::default();
    cubic.initial_window(INITIAL_WINDOW_BYTES);
    config.congestion_controller_factory(Arc::new(cubic));
    Arc::new(config)
}

/// Probes no larger than what this machine's own link to the address carries, which is all that is known before anything was sent. A way
/// that never leaves the machine carries just that, so that one probe is enough; on any other a narrower link may follow, and is searched
/// for. Without this bound a connection over Ethernet would begin with a dozen large probes that are all lost.
fn mtu_discovery(remote: Option<SocketAddr>) -> MtuDiscoveryConfig {
    let most = remote.and_then(payload_of_link).unwrap_or(UDP_PAYLOAD_BYTES_MAX);
    let most = most.clamp(INITIAL_MTU, UDP_PAYLOAD_BYTES_MAX);
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(most);
    if INITIAL_MTU < most && remote.is_some_and(|remote| remote.ip().is_loopback()) {
        // No step of a search is as large, so that only the upper bound itself is probed.
        discovery.minimum_change(most - INITIAL_MTU);
    }
    discovery
}

/// Largest UDP payload that the link by which this machine reaches an address carries; `None` where it does not tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn payload_of_link(remote: SocketAddr) -> Option<u16> {
    const UDP_HEADER_BYTES: u32 = 8;
    let any: SocketAddr = match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // Connected, a socket has a route. Nothing is sent.
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(remote).ok()?;
    let (mtu, header) = match remote {
        SocketAddr::V4(_) => (rustix::net::sockopt::ip_mtu(&socket).ok()?, 20),
        SocketAddr::V6(_) => (rustix::net::sockopt::ipv6_mtu(&socket).ok()?, 40),
    };
    Some(u16::try_from(mtu.saturating_sub(header + UDP_HEADER_BYTES)).unwrap_or(u16::MAX))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn payload_of_link(_: SocketAddr) -> Option<u16> {
    None
}

/// Acknowledge every eighth packet, or after 5 ms: an acknowledgement costs both sides about as much CPU as a small request, and
/// requests do not wait for them. Losses are still noticed within milliseconds.
fn ack_frequency() -> AckFrequencyConfig {
    let mut frequency = AckFrequencyConfig::default();
    frequency.ack_eliciting_threshold(VarInt::from_u32(8));
    frequency.max_ack_delay(Some(Duration::from_millis(5)));
    frequency
}

/// Opens a UDP socket at this address (port 0: any) and a QUIC endpoint on it; with a server configuration it accepts
/// connections. Must be called inside a tokio runtime.
///
/// # Errors
/// What the operating system said, for instance that the address is in use.
pub fn endpoint(address: SocketAddr, server: Option<quinn::ServerConfig>) -> io::Result<Endpoint> {
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(UDP_PAYLOAD_BYTES_MAX).expect("within QUIC's bounds, as the constant shows");
    Endpoint::new_with_abstract_socket(config, server, wrapped(socket(address)?)?, Arc::new(TokioRuntime))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn wrapped(socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    Ok(Arc::new(super::socket::QuicSocket::new(socket)?))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn wrapped(socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    quinn::Runtime::wrap_udp_socket(&TokioRuntime, socket)
}

/// An endpoint that only opens connections, to addresses of the same family as this one.
///
/// # Errors
/// What the operating system said.
pub fn client_endpoint(remote: SocketAddr) -> io::Result<Endpoint> {
    let any = match remote {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0_u16; 8], 0)),
    };
    endpoint(any, None)
}

fn socket(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // Bursts of many peers must fit, or they are lost and sent again a round trip later. The kernel cuts what is too much, and
    // a smaller buffer works too, so failures are no errors.
    for result in [socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES), socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)] {
        if let Err(error) = result {
            tracing::debug!(%error, "the kernel refused larger socket buffers");
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_link_tells_what_it_carries() {
        let loopback: SocketAddr = ([127, 0, 0, 1], 7401).into();
        let payload = payload_of_link(loopback).expect("there is a route to loopback");
        assert!(UDP_PAYLOAD_BYTES_MAX < payload, "{payload}");
    }
}
