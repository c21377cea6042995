//! A UDP socket for QUIC that makes as few calls as it can.
//!
//! Quinn's own, of tokio, has the kernel tell whenever the socket can be written to, which it can after every send: each send would be followed
//! by a turn of the event loop for nothing. And it reads until a read finds nothing. Here the kernel is asked to tell of room only when a send
//! has found none, and a read that has brought less than there was room for counts as the last: what comes later is told anew.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The socket.
pub(super) struct QuicSocket {
    readable: AsyncFd<UdpSocket>,
    state: UdpSocketState,
    /// Whether a send has found no room, and none has been seen since.
    is_full: AtomicBool,
}

/// Waits for room, for one connection.
#[derive(Debug)]
struct Room {
    socket: Arc<QuicSocket>,
    /// The same socket under another descriptor, while the kernel is to tell of room.
    writable: Option<AsyncFd<UdpSocket>>,
}

impl QuicSocket {
    /// Must be called inside a tokio runtime.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        // It makes the socket non-blocking, too.
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { readable: watched(socket, Interest::READABLE)?, state, is_full: AtomicBool::new(false) })
    }

    fn socket(&self) -> &UdpSocket {
        self.readable.get_ref()
    }
}

#[expect(deprecated, reason = "unsound for what gives up its descriptor or tells of another, which a socket does not")]
fn watched(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    AsyncFd::with_interest(socket, interest)
}

impl fmt::Debug for QuicSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicSocket").field("socket", self.socket()).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for QuicSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room { socket: self, writable: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.state.send(self.socket().into(), transmit);
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.is_full.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.readable.poll_read_ready(context))?;
            match self.state.recv(self.socket().into(), buffers, meta) {
                Ok(count) => {
                    // The kernel has found no more; and what has come since is not forgotten by this.
                    if count < buffers.len() {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

impl UdpPoller for Room {
    fn poll_writable(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, writable } = self.get_mut();
        if writable.is_none() {
            if !socket.is_full.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            *writable = Some(watched(socket.socket().try_clone()?, Interest::WRITABLE)?);
        }
        let asked = writable.as_ref().expect("it has just been made");
        let found = ready!(asked.poll_write_ready(context)).map(drop);
        *writable = None;
        // A send that fails for want of room says so again.
        socket.is_full.store(false, Ordering::Relaxed);
        Poll::Ready(found)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use quinn::udp::BATCH_SIZE;

    use super::*;

    const DATAGRAM_BYTES: usize = 100;

    fn local() -> UdpSocket {
        UdpSocket::bind(("127.0.0.1", 0)).expect("a free port")
    }

    /// Reads once.
    async fn receive(socket: &QuicSocket) -> usize {
        let mut bytes = vec![[0; 65_536]; BATCH_SIZE];
        let mut meta = vec![RecvMeta::default(); BATCH_SIZE];
        let reading = poll_fn(|context| {
            let mut buffers: Vec<_> = bytes.iter_mut().map(|bytes| IoSliceMut::new(bytes)).collect();
            socket.poll_recv(context, &mut buffers, &mut meta)
        });
        let count = tokio::time::timeout(Duration::from_secs(10), reading).await;
        let count = count.expect("datagrams that were sent are told").expect("the socket works");
        // The kernel may hand over several of one sender as one, with the length of each.
        meta[..count].iter().map(|meta| meta.len / meta.stride).sum()
    }

    #[tokio::test]
    async fn all_datagrams_are_read_whether_few_or_more_than_fit_one_read() {
        let (sender, socket) = (local(), QuicSocket::new(local()).expect("a socket"));
        let to = socket.local_addr().expect("it has one");
        for burst in [1, BATCH_SIZE - 1, BATCH_SIZE, 1, 3 * BATCH_SIZE + 1, 2] {
            for _ in 0..burst {
                sender.send_to(&[0xa5; DATAGRAM_BYTES], to).expect("there is room");
            }
            let mut read = 0;
            while read < burst {
                read += receive(&socket).await;
            }
            assert_eq!(read, burst);
        }
    }

    #[tokio::test]
    async fn a_datagram_that_comes_while_nothing_is_there_is_told() {
        let (sender, socket) = (local(), Arc::new(QuicSocket::new(local()).expect("a socket")));
        let to = socket.local_addr().expect("it has one");
        for _ in 0..100 {
            let reading = tokio::spawn({
                let socket = socket.clone();
                async move { receive(&socket).await }
            });
            tokio::task::yield_now().await;
            sender.send_to(&[0xa5; DATAGRAM_BYTES], to).expect("there is room");
            assert_eq!(reading.await.expect("it does not panic"), 1);
        }
    }

    #[tokio::test]
    async fn room_is_waited_for_only_after_a_send_that_found_none() {
        let socket = Arc::new(QuicSocket::new(local()).expect("a socket"));
        let mut poller = socket.clone().create_io_poller();
        poll_fn(|context| poller.as_mut().poll_writable(context)).await.expect("the socket works");
        socket.is_full.store(true, Ordering::Relaxed);
        let waited = poll_fn(|context| {
            let polled = poller.as_mut().poll_writable(context);
            Poll::Ready(polled.is_pending())
        });
        assert!(waited.await, "the kernel has not been asked before");
        poll_fn(|context| poller.as_mut().poll_writable(context)).await.expect("it tells at once");
        assert!(!socket.is_full.load(Ordering::Relaxed));
    }
}
