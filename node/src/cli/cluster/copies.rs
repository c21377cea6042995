//! The nodes' copies of the layout, and what they say together.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_client::{Client, Error};
use quorate_ring::NodeId;
use quorate_ring::layout::{Change, Layout, Role};
use quorate_ring::wire::LayoutChange;
use tokio::time::timeout;

use crate::cli::connect;
use crate::cli::exit::{Failure, FailureKind};

/// How long a node may take to show its copy. One that is away would be waited for longer.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(2);

/// What the members that could be reached have.
pub(crate) struct Copies {
    /// Of each that answered.
    pub(crate) of: BTreeMap<NodeId, Layout>,
    /// All that any of them knows.
    pub(crate) merged: Layout,
    /// The members that did not answer.
    pub(crate) silent: Vec<NodeId>,
}

impl Copies {
    /// Asks all members at once.
    ///
    /// # Errors
    /// If none answers.
    pub(crate) async fn gather(client: &Client) -> Result<Self, Failure> {
        Self::gather_within(client, ANSWER_TIME).await
    }

    /// The same where nobody is waited for longer than this.
    ///
    /// # Errors
    /// If none answers.
    pub(crate) async fn gather_within(client: &Client, answer_time: Duration) -> Result<Self, Failure> {
        let members = client.known_ring().members;
        let ask = |node: NodeId| {
            let client = client.clone();
            (node, tokio::spawn(async move { timeout(answer_time, client.layout(node)).await }))
        };
        let asked: Vec<_> = members.into_iter().map(|member| ask(member.node)).collect();
        let (mut of, mut silent, mut problem) = (BTreeMap::new(), Vec::new(), None);
        for (node, answer) in asked {
            match answer.await {
                Ok(Ok(Ok(layout))) => _ = of.insert(node, layout),
                Ok(Ok(Err(error))) => {
                    silent.push(node);
                    problem = Some(error);
                }
                // It was silent, or, only with the whole runtime, nobody asked it.
                Ok(Err(_)) | Err(_) => silent.push(node),
            }
        }
        let merged = of.values().cloned().reduce(|mut one, other| {
            one.merge(&other);
            one
        });
        match (merged, problem) {
            (Some(merged), _) => Ok(Self { of, merged, silent }),
            (None, Some(error)) => Err(connect::failure(&error)),
            (None, None) => Err(Failure::new(FailureKind::Unavailable, "no member of the cluster answers")),
        }
    }

    /// Where changes are made: always at the same node if it can be reached, so that each knows of those before it.
    ///
    /// # Errors
    /// If no member can be reached that may change something.
    pub(crate) fn keeper(&self) -> Result<NodeId, Failure> {
        let none = || Failure::new(FailureKind::Unavailable, "no member of the cluster that stays can be reached");
        self.of.keys().find(|node| self.merged.may_commit(**node)).copied().ok_or_else(none)
    }
}

/// Changes the layout at a node.
///
/// # Errors
/// What kept it from being changed.
pub(super) async fn change(client: &Client, at: NodeId, change: LayoutChange) -> Result<Layout, Failure> {
    client.change_layout(at, change).await.map_err(|error| match &error {
        Error::Node { error: quorate_ring::wire::RequestError::Invalid { reason }, .. } => Failure::invalid(reason),
        _ => connect::failure(&error),
    })
}

/// What a node is wished to be.
pub(crate) fn wished_role(layout: &Layout, node: NodeId) -> Option<&Role> {
    match &layout.wished(node)?.change {
        Change::Take(role) => Some(role),
        Change::Leave { .. } => None,
    }
}

/// What is under way, and what is staged, in a line each; nothing if all is as it was wished.
pub(crate) fn describe_change(layout: &Layout) -> String {
    let mut text = String::new();
    if let [first, .., last] = layout.live() {
        text += &format!("the ring changes from epoch {} to {}", first.number(), last.number());
        let (waited_for, last) = (layout.waited_for(), last.id());
        let names = |waits: &dyn Fn(NodeId) -> bool| {
            waited_for.iter().filter(|node| waits(**node)).map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let hear = names(&|node| layout.progress_of(node).acknowledged != last);
        let receive = names(&|node| layout.progress_of(node).synced != last);
        let read = names(&|node| layout.progress_of(node).reading != last);
        text += &match (hear.as_str(), receive.as_str(), read.as_str()) {
            ("", "", nodes) => format!(": {nodes} still to read by it\n"),
            ("", nodes, _) => format!(": {nodes} still to receive what they are to hold\n"),
            (nodes, ..) => format!(": {nodes} still to write by it\n"),
        };
    }
    let staged: Vec<String> = layout.staged().map(|(node, wish)| describe_wish(layout, node, &wish.change)).collect();
    if !staged.is_empty() {
        text += &format!("staged: {} (see `quorate cluster plan`)\n", staged.join(", "));
    }
    text
}

/// One thing that is staged.
pub(super) fn describe_wish(layout: &Layout, node: NodeId, change: &Change) -> String {
    match change {
        Change::Take(_) if layout.last().ring.member(node).is_some() => format!("{node} changes"),
        Change::Take(role) => format!("{node} joins at {}", role.address),
        Change::Leave { forced: false } => format!("{node} leaves"),
        Change::Leave { forced: true } => format!("{node} is removed by force"),
    }
}
