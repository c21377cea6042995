//! Who is away: not connected, silent on everything for long while something is asked of it, or down by the failure detector's verdict.
//!
//! A peer that answers slowly, or that it is overloaded, is not away. Each shard judges by what it hears itself: one shard of a node may hang
//! while others answer.
//!
//! Who is silent is asked again and again, with next to nothing: writes and reads go elsewhere meanwhile, so nothing else would tell that
//! it is back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_ring::wire::{ExchangeId, HintMessage, PeerMessage};
use quorate_ring::{NodeId, PartitionId};

use super::{Coordination, Output, Shard, Timer};
use crate::Time;
use crate::limits::{SILENCE, SILENCE_PROBE_MAX};
use crate::membership::Standing;

/// What is known of a peer's silence.
///
/// ```text
///           asked          nothing heard for SILENCE, and something is waited for
/// (none) ────────▶ Waited ─────────────────────────────────────────────▶ Silent
///    ▲              │  ▲                        anything heard            │
///    │ nothing is   │  └───────────────────────────────────────────────────┘
///    └─waited for───┘
/// ```
///
/// Hearing something does not end the waiting: a peer may have sent it before it fell silent, and what it was asked is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// It has said nothing since it was asked something, or since what it said last.
    Waited {
        /// Since when.
        since: Time,
        /// Whether it has said something since it was last asked. Then whether an answer is still missing is looked up when it matters.
        heard: bool,
    },
    /// For too long.
    Silent {
        /// When it is asked again.
        probe_at: Time,
        /// How long after the last time that is; twice as long the next time.
        pause: Duration,
    },
}

impl Shard {
    /// Of whom nothing is to be expected now. Borrows the fields alone, so that a coordination may be changed meanwhile.
    pub(super) fn away(
        own: NodeId,
        connected: &BTreeSet<NodeId>,
        silences: &BTreeMap<NodeId, Silence>,
        doubts: &BTreeMap<NodeId, Standing>,
    ) -> impl Fn(NodeId) -> bool {
        move |peer| {
            let is_silent = || matches!(silences.get(&peer), Some(Silence::Silent { .. }));
            peer != own && (!connected.contains(&peer) || is_silent() || doubts.get(&peer) == Some(&Standing::Down))
        }
    }

    /// A peer has said something.
    pub(super) fn note_heard(&mut self, now: Time, peer: NodeId) {
        self.doubts.remove(&peer);
        if let Some(silence) = self.silences.get_mut(&peer) {
            let was_silent = matches!(silence, Silence::Silent { .. });
            *silence = Silence::Waited { since: now, heard: true };
            if was_silent {
                // The timer is set for the next probe, which may be far off.
                self.look_for_silence_at(now + SILENCE);
            }
        }
    }

    /// It is looked by then who is silent, at the latest.
    fn look_for_silence_at(&mut self, time: Time) {
        if self.silence_timer.is_none_or(|at| time < at) {
            self.silence_timer.map(|at| self.timers.remove(&(at, Timer::Silence)));
            self.silence_timer = Some(time);
            self.timers.insert((time, Timer::Silence));
        }
    }

    /// The connection to a peer is another now: what was asked on the old one is not waited for.
    pub(super) fn forget_silence(&mut self, peer: NodeId) {
        self.silences.remove(&peer);
    }

    /// Notes who is asked something by what is about to be sent.
    pub(super) fn note_asked(&mut self, now: Time) {
        let mut any = false;
        for output in &self.outputs {
            if let Output::SendPeer { to, message } = output
                && is_question(message)
                && self.connected.contains(to)
            {
                let asked = Silence::Waited { since: now, heard: false };
                let silence = self.silences.entry(*to).or_insert(asked);
                if matches!(silence, Silence::Waited { heard: true, .. }) {
                    *silence = asked;
                }
                any = true;
            }
        }
        if any {
            self.look_for_silence_at(now + SILENCE);
        }
        // A probe that is far off would keep an idle shard awake when the silent one has long been heard.
        if self.silences.is_empty()
            && let Some(at) = self.silence_timer.take_if(|at| now + SILENCE < *at)
        {
            self.timers.remove(&(at, Timer::Silence));
        }
    }

    /// Finds who was silent for too long: others stand in for them in the writes that wait for them. Set anew only while somebody is asked,
    /// or silent.
    pub(super) fn handle_silence_timer(&mut self, now: Time) {
        self.silence_timer = None;
        self.forget_the_answered();
        let (mut found, mut probed, mut next) = (Vec::new(), Vec::new(), None::<Time>);
        for (peer, silence) in &mut self.silences {
            let pause = match *silence {
                Silence::Waited { since, .. } if since + SILENCE <= now => {
                    found.push(*peer);
                    Some(SILENCE)
                }
                Silence::Silent { probe_at, pause } if probe_at <= now => Some((pause * 2).min(SILENCE_PROBE_MAX)),
                _ => None,
            };
            if let Some(pause) = pause {
                probed.push(*peer);
                *silence = Silence::Silent { probe_at: now + pause, pause };
            }
            let at = match *silence {
                Silence::Waited { since, .. } => since + SILENCE,
                Silence::Silent { probe_at, .. } => probe_at,
            };
            next = next.into_iter().chain([at]).min();
        }
        if let Some(at) = next {
            self.silence_timer = Some(at);
            self.timers.insert((at, Timer::Silence));
        }
        probed.into_iter().for_each(|peer| self.probe(peer));
        self.replace_the_silent(now, &found);
    }

    /// Forgets those that have said something since they were asked, and that nothing waits for any more.
    fn forget_the_answered(&mut self) {
        let mut heard: Vec<NodeId> = self.silences.keys().copied().collect();
        heard.retain(|peer| matches!(self.silences.get(peer), Some(Silence::Waited { heard: true, .. })));
        for peer in heard {
            if self.waiting_for(peer) == 0 {
                self.silences.remove(&peer);
            }
        }
    }

    /// Others stand in for these in the writes that wait for them, and are asked in their place by reads.
    pub(super) fn replace_the_silent(&mut self, now: Time, silent: &[NodeId]) {
        if silent.is_empty() {
            return;
        }
        let (mut writes, mut reads) = (Vec::new(), Vec::new());
        for (id, coordination) in &mut self.coordinations {
            if let Coordination::Write(write) = coordination {
                writes.extend(silent.iter().any(|peer| write.waits_for(*peer)).then_some(*id));
            } else if let Some(asking) = coordination.asking_mut() {
                silent.iter().for_each(|peer| asking.hurry(now, *peer));
                let asked = silent.iter().any(|peer| asking.open().any(|open| open == *peer));
                reads.extend(asked.then_some(*id));
            }
        }
        writes.into_iter().for_each(|id| self.write_step(now, id));
        for id in reads {
            self.hedge(now, id);
            self.call_read_stand_ins(now, id);
        }
    }

    /// Asks a peer to take no hints at all, which it answers whatever it is.
    fn probe(&mut self, peer: NodeId) {
        let exchange = ExchangeId(self.next_number());
        let hand = HintMessage::Hand { exchange, partition: PartitionId::new(0), hints: Vec::new() };
        self.send(peer, PeerMessage::Hint(hand));
    }
}

/// Whether a peer is expected to answer.
const fn is_question(message: &PeerMessage) -> bool {
    matches!(
        message,
        PeerMessage::Read { .. }
            | PeerMessage::Replicate { .. }
            | PeerMessage::Repair { exchange: Some(_), .. }
            | PeerMessage::Scan { .. }
            | PeerMessage::Forward { .. }
            | PeerMessage::Hint(HintMessage::Hand { .. })
    )
}
