//! A client's stream: its requests to the shards, their answers back.

use std::sync::Arc;

use quorate_client::transport::{FrameReceiver, ReceiveError};
use quorate_ring::limits::TIMEOUT_MILLIS_MAX;
use quorate_ring::wire::{ClientMessage, NodeMessage, Protocol, Request, RequestError, Response};

use super::accept::Greeted;
use super::outbox::{Outbox, outbox};
use super::shared::Shared;
use super::status::status;
use super::turn::Event;
use crate::{Input, SessionId};

/// Serves a stream until the client closes it, its connection ends, or it is too far behind in reading answers.
pub(super) async fn serve(shared: Arc<Shared>, Greeted { streams, protocol, .. }: Greeted) {
    let session = shared.next_session();
    let (outbox, drain) = outbox();
    shared.send_all(|| Event::SessionUp { session, outbox: outbox.clone() }).await;
    let mut sender = streams.sender;
    let ended = tokio::select! {
        result = drain.run(&mut sender) => result.map_err(|error| error.to_string()),
        result = receive(&shared, (session, protocol), streams.receiver, outbox) => result.map_err(|error| error.to_string()),
    };
    if let Err(error) = ended {
        tracing::debug!(?session, error, "a client's stream ended");
    }
    shared.send_all(|| Event::SessionDown { session }).await;
}

async fn receive(
    shared: &Shared,
    (session, protocol): (SessionId, Protocol),
    mut receiver: FrameReceiver,
    mut outbox: Outbox,
) -> Result<(), ReceiveError> {
    while let Some(message) = receiver.receive::<ClientMessage>().await? {
        let ClientMessage { id, timeout_millis, request } = message;
        let answer = match request {
            _ if shared.is_stopping() => Err(RequestError::Stopping { node: shared.node }),
            Request::Ring => Ok(Response::Ring(shared.view().description.clone())),
            Request::Status => {
                let mut status = status(shared).await;
                status.usage = status.usage.filter(|_| protocol.has_usage());
                Ok(Response::Status(Box::new(status)))
            }
            request => {
                let timeout_millis = timeout_millis.min(TIMEOUT_MILLIS_MAX);
                for (shard, request, indices) in shared.slices.split(request) {
                    let input = Input::ClientRequest { session, id, timeout_millis, request, indices };
                    shared.send(shard, Event::Core(input)).await;
                }
                continue;
            }
        };
        outbox.push(&NodeMessage { id, result: answer })?;
        if !outbox.flush() {
            break;
        }
    }
    Ok(())
}
