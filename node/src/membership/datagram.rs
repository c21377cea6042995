//! What a datagram of the failure detector looks like, and what is refused.
//!
//! ```text
//! head:   [format, source, source's refutations, target, kind, number of the probe, subject or nil]     MessagePack
//! count:  u16, big endian; neither it nor what follows is there in an announcement or where a node is told that it is down
//! count × [node, refutations, state]                                                                     MessagePack
//! ```
//!
//! A node is `[number, life, renewals]`. What SWIM calls a node's incarnation, which a node counts up to refute a suspicion, is called its
//! refutations here, for an incarnation is something else in this house. Everything from outside is parsed whole before the protocol sees it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use foca::{Header, Member, Message, State};
use quorate_ring::NodeId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Identity, Life};
use crate::limits::SWIM_DATAGRAM_BYTES_MAX;

/// Counts up with each change of the layout that an older node could not read.
const FORMAT: u8 = 1;

type WireIdentity = (NodeId, u64, u32);
type WireHead = (u8, WireIdentity, u16, WireIdentity, u8, u8, Option<WireIdentity>);
type WireMember = (WireIdentity, u16, u8);

/// Why a datagram was refused: the fault of the peer that sent it, or of what carried it. Nothing has changed by it, and nothing is to be
/// retried, for the protocol lives with losses.
#[derive(Debug, thiserror::Error)]
pub enum RefusedDatagram {
    /// It is longer than any that a node sends.
    #[error("a datagram of {bytes} bytes is longer than {SWIM_DATAGRAM_BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It is no datagram of this format.
    #[error("a datagram cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// It says that it is from another node than the one it came from.
    #[error("a datagram from {source_node} says that it is from {claimed}")]
    WrongSource {
        /// Whom it came from.
        source_node: NodeId,
        /// Whom it claims to be from.
        claimed: NodeId,
    },
    /// With the nodes that it names there would be too many.
    #[error("a datagram names more nodes than a cluster has")]
    TooManyNodes,
    /// It is well formed, and makes no sense: sent to oneself, for example.
    #[error("a datagram makes no sense: {0}")]
    Senseless(foca::Error),
}

/// What could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// No MessagePack of the expected shape.
    #[error(transparent)]
    Shape(#[from] rmp_serde::decode::Error),
    /// Of a newer version of this software, or noise.
    #[error("format {0}")]
    Format(u8),
    /// A kind of message that there is not, or with or without a subject where it should be the other way round.
    #[error("kind of message {0}")]
    Kind(u8),
    /// A state that there is not.
    #[error("state {0}")]
    State(u8),
    /// Not as many changes as it says, or something behind them.
    #[error("{0} bytes at the end")]
    Length(usize),
    /// What is written does not fit, which only happens to changes that are left for the next datagram.
    #[error("no room")]
    NoRoom,
}

/// A datagram, read to its end.
pub(super) struct Datagram {
    pub(super) head: Header<Identity>,
    pub(super) members: Vec<Member<Identity>>,
}

impl Datagram {
    /// Reads a datagram that came from a node.
    ///
    /// # Errors
    /// [`RefusedDatagram`], other than [`RefusedDatagram::TooManyNodes`] and [`RefusedDatagram::Senseless`].
    pub(super) fn parse(source: NodeId, mut bytes: &[u8]) -> Result<Self, RefusedDatagram> {
        if SWIM_DATAGRAM_BYTES_MAX < bytes.len() {
            return Err(RefusedDatagram::TooLong { bytes: bytes.len() });
        }
        let head = head_from_wire(read(&mut bytes)?)?;
        if head.src.node != source {
            return Err(RefusedDatagram::WrongSource { source_node: source, claimed: head.src.node });
        }
        let bare = matches!(head.message, Message::Announce | Message::TurnUndead);
        if bare != bytes.is_empty() {
            return Err(Malformed::Length(bytes.len()).into());
        }
        let members = if bare { Vec::new() } else { read_members(&mut bytes)? };
        if !bytes.is_empty() {
            return Err(Malformed::Length(bytes.len()).into());
        }
        Ok(Self { head, members })
    }
}

/// Whether a datagram of one's own says nothing of third nodes.
pub(super) fn is_bare(datagram: &[u8]) -> bool {
    let head = read(datagram).and_then(head_from_wire).expect("written by this node");
    matches!(head.message, Message::Announce | Message::TurnUndead)
}

/// A datagram of one's own that says something of one node.
pub(super) fn written(head: &Header<Identity>, member: &Member<Identity>) -> Bytes {
    let mut bytes = BytesMut::new();
    let fits = "two short parts fit a growing buffer";
    write(&head_to_wire(head), &mut bytes).expect(fits);
    bytes.put_u16(1);
    write(&member_to_wire(member), &mut bytes).expect(fits);
    bytes.freeze()
}

fn read_members(bytes: &mut &[u8]) -> Result<Vec<Member<Identity>>, Malformed> {
    if bytes.len() < 2 {
        return Err(Malformed::Length(bytes.len()));
    }
    let count = bytes.get_u16();
    (0..count).map(|_| read(&mut *bytes).and_then(member_from_wire)).collect()
}

fn read<T: DeserializeOwned>(buffer: impl Buf) -> Result<T, Malformed> {
    Ok(rmp_serde::from_read(buffer.reader())?)
}

/// Writes all of it or nothing.
fn write(value: &impl Serialize, mut buffer: impl BufMut) -> Result<(), Malformed> {
    let bytes = rmp_serde::to_vec(value).expect("numbers can be encoded");
    if buffer.remaining_mut() < bytes.len() {
        return Err(Malformed::NoRoom);
    }
    buffer.put_slice(&bytes);
    Ok(())
}

/// The library's view of this layout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codec;

impl foca::Codec<Identity> for Codec {
    type Error = Malformed;

    fn encode_header(&mut self, header: &Header<Identity>, buffer: impl BufMut) -> Result<(), Malformed> {
        write(&head_to_wire(header), buffer)
    }

    fn decode_header(&mut self, buffer: impl Buf) -> Result<Header<Identity>, Malformed> {
        read(buffer).and_then(head_from_wire)
    }

    fn encode_member(&mut self, member: &Member<Identity>, buffer: impl BufMut) -> Result<(), Malformed> {
        write(&member_to_wire(member), buffer)
    }

    fn decode_member(&mut self, buffer: impl Buf) -> Result<Member<Identity>, Malformed> {
        read(buffer).and_then(member_from_wire)
    }
}

fn to_wire(identity: &Identity) -> WireIdentity {
    (identity.node, identity.life.number(), identity.renewals)
}

fn from_wire((node, life, renewals): WireIdentity) -> Identity {
    Identity { node, life: Life::new(life), renewals }
}

fn member_to_wire(member: &Member<Identity>) -> WireMember {
    let state = match member.state() {
        State::Alive => 0,
        State::Suspect => 1,
        State::Down => 2,
    };
    (to_wire(member.id()), member.incarnation(), state)
}

fn member_from_wire((identity, refutations, state): WireMember) -> Result<Member<Identity>, Malformed> {
    let state = match state {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Down,
        other => return Err(Malformed::State(other)),
    };
    Ok(Member::new(from_wire(identity), refutations, state))
}

fn head_to_wire(head: &Header<Identity>) -> WireHead {
    let (kind, probe, subject) = match &head.message {
        Message::Ping(probe) => (0, *probe, None),
        Message::Ack(probe) => (1, *probe, None),
        Message::PingReq { target, probe_number } => (2, *probe_number, Some(target)),
        Message::IndirectPing { origin, probe_number } => (3, *probe_number, Some(origin)),
        Message::IndirectAck { target, probe_number } => (4, *probe_number, Some(target)),
        Message::ForwardedAck { origin, probe_number } => (5, *probe_number, Some(origin)),
        Message::Announce => (6, 0, None),
        Message::Feed => (7, 0, None),
        Message::Gossip => (8, 0, None),
        Message::TurnUndead => (9, 0, None),
        Message::Broadcast => unreachable!("nothing of one's own is ever broadcast"),
    };
    (FORMAT, to_wire(&head.src), head.src_incarnation, to_wire(&head.dst), kind, probe, subject.map(to_wire))
}

fn head_from_wire(wire: WireHead) -> Result<Header<Identity>, Malformed> {
    let (format, source, src_incarnation, target, kind, probe_number, subject) = wire;
    if format != FORMAT {
        return Err(Malformed::Format(format));
    }
    let message = match (kind, subject.map(from_wire)) {
        (0, None) => Message::Ping(probe_number),
        (1, None) => Message::Ack(probe_number),
        (2, Some(target)) => Message::PingReq { target, probe_number },
        (3, Some(origin)) => Message::IndirectPing { origin, probe_number },
        (4, Some(target)) => Message::IndirectAck { target, probe_number },
        (5, Some(origin)) => Message::ForwardedAck { origin, probe_number },
        (6, None) => Message::Announce,
        (7, None) => Message::Feed,
        (8, None) => Message::Gossip,
        (9, None) => Message::TurnUndead,
        (kind, _) => return Err(Malformed::Kind(kind)),
    };
    Ok(Header { src: from_wire(source), src_incarnation, dst: from_wire(target), message })
}

#[cfg(test)]
mod tests {
    use foca::Codec as _;

    use super::*;

    fn identity(number: u32, life: u64) -> Identity {
        Identity::new(NodeId::new(number).expect("not 0"), Life::new(life))
    }

    #[test]
    fn the_layout_is_pinned() {
        let head = Header {
            src: identity(1, 2),
            src_incarnation: 3,
            dst: Identity { renewals: 6, ..identity(4, 500) },
            message: Message::PingReq { target: identity(7, 8), probe_number: 9 },
        };
        let mut bytes = Vec::new();
        Codec.encode_header(&head, &mut bytes).expect("fits");
        bytes.put_u16(1);
        Codec.encode_member(&Member::new(identity(10, 11), 12, State::Suspect), &mut bytes).expect("fits");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "9701930102000393 04cd01f406 0209 93070800 0001 93930a0b000c01".replace(' ', ""));
        let datagram = Datagram::parse(head.src.node, &bytes).expect("well formed");
        assert_eq!((datagram.head, datagram.members.len()), (head, 1));
    }

    #[test]
    fn what_does_not_fit_leaves_nothing_behind() {
        let mut bytes = Vec::new();
        let refused = Codec.encode_member(&Member::alive(identity(1, 2)), (&mut bytes).limit(3));
        assert!(matches!(refused, Err(Malformed::NoRoom)));
        assert_eq!(bytes, []);
    }
}
