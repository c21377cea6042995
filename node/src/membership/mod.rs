//! Who can be reached: failure detection by SWIM (Das, Gupta, Motivala: "SWIM: Scalable Weakly-consistent Infection-style Process Group
//! Membership Protocol", DSN 2002), as a state machine without I/O. The protocol itself is the crate `foca`.
//!
//! Each node probes one other a period. One that does not answer is probed again through a few others, so that a broken link between two nodes
//! is no failure; then it is **suspected**, and word of that travels on the probes of all. A suspected node that hears of it refutes it; one
//! that does not is **down** after a while. A node that was declared down and is not comes back by itself, under another name
//! ([`Identity`]).
//!
//! **What this decides is where requests are sent first, and nothing else.** Nobody is ever removed from the cluster by it: members change when
//! somebody says so. A node that is down here keeps its partitions and its hints, and a wrong verdict costs a detour.
//!
//! Three things are not in the paper. **A node that is deaf keeps its opinions to itself**: one that sends and does not hear would find everybody
//! dead, and each would have to come back from it, over and over. So a node that has heard nobody for two periods thinks what it likes, and only
//! calls, which says nothing of others. (Lifeguard, by Dadgar, Phillips and Currey, DSN 2018, has the reasons, and a finer remedy.) **Time
//! stands still while nobody looks**, see `timers.rs`. And **a node that goes by an older name than others know is told the newer**: its store was
//! lost, say, and with it the count of its lives. By itself it would take one name after the other, each as dead as the last.
//!
//! Deliberately absent: the members of the cluster, which the layout knows; connections; the choice among those that can be reached, which is
//! the ranking's. Datagrams must come from nodes that proved who they are, as a connection with certificates does: whoever may speak as a
//! node may say that it is alive.

mod datagram;
mod identity;
pub mod keeper;
mod pace;
mod timers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use foca::{Foca, Header, Member, Message, NoCustomBroadcast, Notification, State, Timer};
use quorate_ring::NodeId;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use datagram::{Codec, Datagram, is_bare, written};
use timers::Timers;

pub use datagram::{Malformed, RefusedDatagram};
pub use identity::{Identity, Life};
pub use pace::{InvalidPace, Pace};

use crate::Time;
use crate::limits::{SWIM_DATAGRAM_BYTES_MAX, SWIM_NODES_MAX};

/// What is thought of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It, or somebody who heard it, says so.
    Alive,
    /// Somebody could not reach it, neither directly nor through others, and it has not refuted that yet. Better ask another one first.
    Suspected,
    /// It has not refuted that in time. It comes back when it can be heard again.
    Down,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this to a node, once; it may be lost. At most [`SWIM_DATAGRAM_BYTES_MAX`] bytes.
    Send {
        /// Who is to have it.
        target: NodeId,
        /// The datagram.
        datagram: Bytes,
    },
    /// Of a node something else is thought from now on.
    Changed {
        /// Which.
        node: NodeId,
        /// What.
        standing: Standing,
    },
}

/// The failure detector of one node.
///
/// ```text
///                 heard of
///   (unknown) ──────────────▶ Alive ◀──────────────┐
///                             │   ▲                │
///       a probe failed, here  │   │ it refuted     │ it came back under
///       or somewhere else     ▼   │                │ another name
///                           Suspected ─────────▶ Down
///                                      in time: no refutation
/// ```
///
/// Drive it so: give it what comes in ([`handle_datagram`](Self::handle_datagram)) and the time, when the
/// [`next_deadline`](Self::next_deadline) has come ([`handle_time`](Self::handle_time)); after each of these, take all of
/// [`poll_output`](Self::poll_output) before the next, so that there is never more waiting than one input makes.
///
/// ```
/// use quorate_node::Time;
/// use quorate_node::membership::{Detector, Life, Output, Pace, Standing};
/// use quorate_ring::NodeId;
///
/// let [first, second] = [1, 2].map(|number| NodeId::new(number).unwrap());
/// let now = Time::default();
/// let mut detectors = [Detector::new(now, first, Life::new(1), 7, Pace::default()), Detector::new(now, second, Life::new(1), 8, Pace::default())];
/// detectors[1].announce(now, first);
/// let Some(Output::Send { target, datagram }) = detectors[1].poll_output() else { panic!("it calls") };
/// assert_eq!(target, first);
/// detectors[0].handle_datagram(now, second, &datagram)?;
/// assert_eq!(detectors[0].standing(second), Some(Standing::Alive));
/// # Ok::<(), quorate_node::membership::RefusedDatagram>(())
/// ```
pub struct Detector {
    foca: Foca<Identity, Codec, ChaCha8Rng, NoCustomBroadcast>,
    pace: Pace,
    surroundings: Surroundings,
    /// Of every other node that was heard of.
    standings: BTreeMap<NodeId, Standing>,
    /// How many of these are suspected. While there are any, each datagram may be a refutation.
    suspected: usize,
    /// Whom to call while nobody is heard: all that were heard of, or called.
    contacts: BTreeSet<NodeId>,
    /// Whom it called last.
    called: Option<NodeId>,
    /// When it calls the next of them, if it still hears nobody.
    call_at: Time,
    refused: u64,
}

impl Detector {
    /// The detector of a node in a life of it. All that it draws comes from the seed.
    pub fn new(now: Time, own: NodeId, life: Life, seed: u64, pace: Pace) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self {
            foca: Foca::new(Identity::new(own, life), pace.settings(), random, Codec),
            pace,
            surroundings: Surroundings {
                own,
                now,
                timers: Timers::new(pace.round_trip()),
                outputs: VecDeque::new(),
                heard_at: now,
                deafness: pace.deafness(),
                active: false,
                stale: false,
            },
            standings: BTreeMap::new(),
            suspected: 0,
            contacts: BTreeSet::new(),
            called: None,
            call_at: now + pace.reunion(),
            refused: 0,
        }
    }

    /// Under which name it goes now.
    pub fn identity(&self) -> Identity {
        *self.foca.identity()
    }

    /// What is thought of another node; `None` if it was never heard of.
    pub fn standing(&self, node: NodeId) -> Option<Standing> {
        self.standings.get(&node).copied()
    }

    /// What is thought of all others that were heard of, by their numbers.
    pub fn standings(&self) -> impl ExactSizeIterator<Item = (NodeId, Standing)> {
        self.standings.iter().map(|(node, standing)| (*node, *standing))
    }

    /// How many datagrams were refused. Zero where all nodes run compatible versions; anything else deserves a look at one of them.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Calls a node of which nothing but its number is known. It answers with others that it knows. While nobody is heard the call is repeated,
    /// to each that was called or heard of in turn. Beyond [`SWIM_NODES_MAX`] of them, it is called once.
    pub fn announce(&mut self, now: Time, node: NodeId) {
        self.surroundings.now = now;
        if node == self.surroundings.own {
            return;
        }
        if self.contacts.len() < SWIM_NODES_MAX {
            self.contacts.insert(node);
        }
        self.call(node);
    }

    /// A node is alive in a life of it, as is known by another way than datagrams: it has just greeted on a connection, say.
    ///
    /// This is not passed on: who greets one greets all, and what it then sends is word of it. An older life than the known one changes
    /// nothing, and neither does a life that is known to be over. Beyond [`SWIM_NODES_MAX`] nodes nothing is done.
    pub fn introduce(&mut self, now: Time, node: NodeId, life: Life) {
        self.surroundings.now = now;
        if node == self.surroundings.own || !self.has_room([node]) {
            return;
        }
        let alive = std::iter::once(Member::alive(Identity::new(node, life)));
        let applied = self.foca.apply_many(alive, false, &mut self.surroundings);
        debug_assert!(applied.is_ok(), "a node fits a datagram: {applied:?}");
        self.surroundings.stale = false;
        let standing = self.foca.iter_membership_state().find(|member| member.id().node == node);
        self.note(node, standing_of(standing.expect("it was just applied").state()));
    }

    /// A datagram came from a node.
    ///
    /// # Errors
    /// [`RefusedDatagram`], if it is not as a node sends them. It is counted, and changes nothing; only a [`RefusedDatagram::Senseless`] one may
    /// have brought word of others.
    pub fn handle_datagram(&mut self, now: Time, source: NodeId, bytes: &[u8]) -> Result<(), RefusedDatagram> {
        self.surroundings.now = now;
        let handled = self.take_datagram(source, bytes);
        if handled.is_err() {
            self.refused += 1;
        }
        handled
    }

    /// The time has come to some deadline, or not: then nothing happens.
    pub fn handle_time(&mut self, now: Time) {
        self.surroundings.now = now;
        self.surroundings.timers.forgive(now);
        while let Some(timer) = self.surroundings.timers.pop(now) {
            if self.is_refuted(&timer) {
                continue;
            }
            self.surroundings.stale |= matches!(timer, Timer::ProbeRandomMember(_) | Timer::ChangeSuspectToDown { .. });
            // All that a timer can fail by is that the protocol was interrupted since it was set. It has recovered by then.
            let _interrupted = self.foca.handle_timer(timer, &mut self.surroundings);
        }
        if self.call_at <= now {
            self.call_at = now + self.pace.reunion();
            if !self.surroundings.active || self.surroundings.is_deaf() {
                self.call_next();
            }
        }
        self.note_standings();
    }

    /// When [`handle_time`](Self::handle_time) has something to do.
    pub fn next_deadline(&self) -> Time {
        self.surroundings.timers.first().map_or(self.call_at, |first| first.min(self.call_at))
    }

    /// The next of what is to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.surroundings.outputs.pop_front()
    }

    fn take_datagram(&mut self, source: NodeId, bytes: &[u8]) -> Result<(), RefusedDatagram> {
        let Datagram { head, members } = Datagram::parse(source, bytes)?;
        let named = members.iter().map(|member| member.id().node);
        if !self.has_room(named.chain([source])) {
            return Err(RefusedDatagram::TooManyNodes);
        }
        self.surroundings.heard_at = self.surroundings.now;
        let says_otherwise =
            |member: &Member<Identity>| self.standings.get(&member.id().node) != Some(&standing_of(member.state()));
        self.surroundings.stale |=
            members.iter().any(says_otherwise) || 0 < self.suspected || head.message == Message::TurnUndead;
        self.tell_newer_name(head.src);
        let own = *self.foca.identity();
        let names = members.iter().map(|member| *member.id()).filter(|name| name.node == own.node && own < *name);
        if let Some(renewed) = names.max().and_then(|newest| foca::Identity::renew(&newest)) {
            self.rename(source, renewed);
        }
        let handled = self.foca.handle_data(bytes, &mut self.surroundings);
        self.note_standings();
        handled.map_err(RefusedDatagram::Senseless)
    }

    /// Tells a node that goes by an older name than is known of it the newer one.
    fn tell_newer_name(&mut self, source: Identity) {
        let known = self.foca.iter_membership_state().find(|member| member.id().node == source.node);
        let Some(newer) = known.filter(|member| source < *member.id()) else { return };
        let head = Header { src: *self.foca.identity(), src_incarnation: 0, dst: source, message: Message::Gossip };
        let datagram = written(&head, newer);
        self.surroundings.outputs.push_back(Output::Send { target: source.node, datagram });
    }

    /// Takes a name that is newer than all that others know, and calls whoever told of them.
    fn rename(&mut self, teller: NodeId, renewed: Identity) {
        let changed = self.foca.change_identity(renewed, &mut self.surroundings);
        debug_assert!(changed.is_ok(), "it is newer: {changed:?}");
        // As after a death that was heard of: nothing runs until somebody is heard.
        self.surroundings.active = false;
        self.call(teller);
    }

    /// Whether a timer is the end of a suspicion that is over already. The library would not declare such a node down, but tell it all the same
    /// that it is (foca 2.0.0), and the node would take another name for nothing.
    fn is_refuted(&self, timer: &Timer<Identity>) -> bool {
        let Timer::ChangeSuspectToDown { member_id, incarnation, .. } = timer else { return false };
        let suspect = Member::new(*member_id, *incarnation, State::Suspect);
        self.foca.iter_membership_state().all(|member| *member != suspect)
    }

    /// Whether all of these may be known at once with those that are.
    fn has_room(&self, nodes: impl IntoIterator<Item = NodeId>) -> bool {
        let known = |node: &NodeId| *node == self.surroundings.own || self.standings.contains_key(node);
        let new: BTreeSet<NodeId> = nodes.into_iter().filter(|node| !known(node)).collect();
        self.standings.len() + new.len() <= SWIM_NODES_MAX
    }

    /// Calls whoever follows the one that was called last.
    fn call_next(&mut self) {
        let after = self.called.and_then(|called| self.contacts.range(called..).find(|node| **node != called));
        let Some(node) = after.or_else(|| self.contacts.first()).copied() else { return };
        self.called = Some(node);
        self.call(node);
    }

    fn call(&mut self, node: NodeId) {
        let announced = self.foca.announce(Identity::new(node, Life::UNKNOWN), &mut self.surroundings);
        debug_assert!(announced.is_ok(), "an announcement fits a datagram: {announced:?}");
    }

    /// Compares what the protocol thinks of everybody with what was told last, if anything can be different.
    ///
    /// The library tells who is up and who is down, and not who is suspected; so its table is read, after what may have changed a suspicion.
    fn note_standings(&mut self) {
        if !std::mem::take(&mut self.surroundings.stale) {
            return;
        }
        let mut changed = BTreeMap::new();
        for member in self.foca.iter_membership_state() {
            let (node, standing) = (member.id().node, standing_of(member.state()));
            if node != self.surroundings.own && self.standings.get(&node) != Some(&standing) {
                changed.insert(node, standing);
            }
        }
        changed.into_iter().for_each(|(node, standing)| self.note(node, standing));
    }

    fn note(&mut self, node: NodeId, standing: Standing) {
        let before = self.standings.insert(node, standing);
        if before == Some(standing) {
            return;
        }
        self.suspected += usize::from(standing == Standing::Suspected);
        self.suspected -= usize::from(before == Some(Standing::Suspected));
        if self.contacts.len() < SWIM_NODES_MAX {
            self.contacts.insert(node);
        }
        self.surroundings.outputs.push_back(Output::Changed { node, standing });
    }
}

fn standing_of(state: State) -> Standing {
    match state {
        State::Alive => Standing::Alive,
        State::Suspect => Standing::Suspected,
        State::Down => Standing::Down,
    }
}

/// The world as the protocol sees it: it sends, sets timers, and tells.
struct Surroundings {
    own: NodeId,
    now: Time,
    timers: Timers,
    outputs: VecDeque<Output>,
    /// When it last heard anybody, and how long after that it is deaf.
    heard_at: Time,
    deafness: Duration,
    /// Whether the protocol runs. It does not while nobody is heard.
    active: bool,
    /// Whether a standing may have changed since they were compared.
    stale: bool,
}

impl Surroundings {
    fn is_deaf(&self) -> bool {
        self.deafness < self.now.since(self.heard_at)
    }
}

impl foca::Runtime<Identity> for Surroundings {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        match notification {
            Notification::Active => self.active = true,
            // After another name is taken nothing runs until somebody is heard.
            Notification::Idle | Notification::Rejoin(_) | Notification::Defunct => self.active = false,
            Notification::MemberUp(_) | Notification::MemberDown(_) | Notification::Rename(..) => self.stale = true,
        }
    }

    fn send_to(&mut self, target: Identity, datagram: &[u8]) {
        assert!(datagram.len() <= SWIM_DATAGRAM_BYTES_MAX, "the library keeps to the bound that it was given");
        // An old name of one's own may be around; there is nobody to be told anything. And nobody is told what a deaf node thinks.
        if target.node != self.own && (!self.is_deaf() || is_bare(datagram)) {
            self.outputs.push_back(Output::Send { target: target.node, datagram: Bytes::copy_from_slice(datagram) });
        }
    }

    fn submit_after(&mut self, timer: Timer<Identity>, after: Duration) {
        self.timers.set(self.now + after, timer);
    }
}
