//! Login sessions: written once, read often, and how R and W trade time against certainty (the Dynamo paper, section 4.5).
//!
//! Run it like the example `cart`.

use std::error::Error;
use std::time::Duration;

use quorate_client::{Bucket, Client, Durability, Outcome};
use tokio::time::Instant;

/// How often each way is timed.
const ROUNDS: u32 = 50;

/// Writes a session so that it survives the loss of machines, not only of processes: all replicas, on disk.
async fn log_in(sessions: &Bucket, id: &str, user: &str, w: u8) -> Result<(), quorate_client::Error> {
    let result = sessions.put(id, user.to_owned()).w(w).durability(Durability::Synced).await;
    match result {
        Ok(_) => Ok(()),
        // It may be stored or not. Reading shows which; only then may it be written again.
        Err(error) if error.outcome() == Outcome::Unknown && !sessions.get(id).await?.is_empty() => Ok(()),
        Err(error) => Err(error),
    }
}

async fn timed_reads(sessions: &Bucket, id: &str, r: u8) -> Result<Duration, quorate_client::Error> {
    let started = Instant::now();
    for _ in 0..ROUNDS {
        sessions.get(id).r(r).timeout(Duration::from_secs(1)).await?;
    }
    Ok(started.elapsed() / ROUNDS)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::from_env().await?;
    let sessions = client.bucket("sessions")?;
    let n = client.known_ring().replicas;
    sessions.delete("s-1").await?;

    log_in(&sessions, "s-1", "ann", n).await?;
    println!("stored on all {n} replicas");

    // With W = N, a read of a single replica (R = 1) sees it: R + W > N. It is the quickest, and any one replica is enough.
    for r in 1..=n {
        println!("r = {r}: {:?} for each read", timed_reads(&sessions, "s-1", r).await?);
    }

    let found = sessions.get("s-1").r(1).await?;
    let user = found.single().ok_or("the session is there once")?;
    println!("session s-1 belongs to {}", String::from_utf8_lossy(user));

    sessions.delete("s-1").context(found.context()).await?;
    println!("after logging out there is a session: {}", !sessions.get("s-1").await?.is_empty());

    // What cannot be is refused before anything is sent.
    if let Err(error) = sessions.get("s-1").r(n + 1).await {
        println!("refused: {error}");
    }
    client.close().await;
    Ok(())
}
