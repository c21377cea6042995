//! Samples of layouts, and of what nodes tell each other of them.

use super::*;

/// What a message's name ends with.
pub(super) fn detail(message: &LayoutMessage) -> &'static str {
    match message {
        LayoutMessage::Digest { .. } => "Digest",
        LayoutMessage::Epoch { .. } => "Epoch",
        LayoutMessage::Copy(_) => "Copy",
        LayoutMessage::Back(_) => "Back",
        LayoutMessage::Summary(_) => "Summary",
        LayoutMessage::Delta { .. } => "Delta",
    }
}

pub(super) fn questions() -> Vec<(&'static str, PeerMessage)> {
    let messages = [
        ("", LayoutMessage::Digest { hash: u64::MAX, last: 7 }),
        ("", LayoutMessage::Epoch { last: 7 }),
        ("", LayoutMessage::Back(Box::new(layout()))),
        ("", LayoutMessage::Copy(Box::new(layout()))),
        ("", LayoutMessage::Summary(Box::new(layout().summary()))),
        ("", delta(true)),
        ("bare", LayoutMessage::Delta { delta: None, summary: None }),
        ("last", delta(false)),
    ];
    messages.into_iter().map(|(name, message)| (name, PeerMessage::Layout(message))).collect()
}

/// What a node that just begins lacks.
fn delta(asks: bool) -> LayoutMessage {
    let founding = founding().summary();
    let delta = layout().delta(&founding).map(Box::new);
    LayoutMessage::Delta { delta, summary: asks.then(|| Box::new(founding)) }
}

/// Of three nodes.
fn founding() -> Layout {
    let partitions = PartitionCount::new(8).expect("a power of two");
    Layout::new(partitions, 2, (1..=3).map(|number| (node(number), role())).collect()).expect("a ring")
}

/// The same with a fourth on its way in and one further wish.
pub(super) fn layout() -> Layout {
    let mut layout = founding();
    layout.wish(node(1), node(4), Change::Take(role()));
    let proposed = layout.propose().expect("a ring").epoch.id();
    layout.commit(node(1), proposed).expect("it was proposed just now");
    layout.acknowledge(node(2));
    layout.wish(node(2), node(3), Change::Leave { forced: false });
    layout
}
