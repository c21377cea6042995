//! Ctrl-C in commands that take long: they tell what was done until then, where the default would end them without a word.

use tokio::signal::unix::{SignalKind, signal};

use super::exit::{Failure, FailureKind};

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

/// That a command was interrupted, and what that means for what was done.
pub(crate) fn interruption(means: &str) -> Failure {
    Failure::new(FailureKind::Interrupted, format!("interrupted: {means}"))
}

/// What `work` gives, or that it was interrupted. Work that looks for [`interrupted`] itself comes first.
///
/// # Errors
/// Those of `work`, and the interruption with what it means for what was done.
pub(crate) async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
    means: &str,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        result = work => result,
        () = interrupted() => Err(interruption(means)),
    }
}
