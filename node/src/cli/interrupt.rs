//! Ctrl-C in commands that take long: they tell what was done until then, where the default would end them without a word.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves at Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        // Without signals the process ends at the first one as every process does, and what it started with it.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
