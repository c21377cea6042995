//! Waiting for a condition, with a bound: what is waited for either comes, or fails the test and says what did not come.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that usually takes well under a second: room for a loaded machine, and an end to a hung test.
pub const BOUND: Duration = Duration::from_secs(20);
/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// Waits until there is something.
///
/// # Panics
/// If there is nothing after `bound`.
pub fn until<T>(what: &str, bound: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < bound, "waited {bound:?} in vain until {what}");
        thread::sleep(INTERVAL);
    }
}

/// The same where looking has to wait itself.
///
/// # Panics
/// If there is nothing after `bound`.
pub async fn until_async<T>(what: &str, bound: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < bound, "waited {bound:?} in vain until {what}");
        tokio::time::sleep(INTERVAL).await;
    }
}
