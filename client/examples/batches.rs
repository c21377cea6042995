//! Feature values of a model: written in batches, read in batches, and walked with a scan that can stop and go on.
//!
//! Run it like the example `cart`.

use std::error::Error;

use quorate_client::{Client, Cursor};

/// How many users have a value.
const USERS: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::from_env().await?;
    let features = client.bucket("features")?;
    let key = |user: usize| format!("user-{user:04}");

    // One message goes to each node. Every item has its own result: some may fail. Written again by a later run, a value would
    // stand beside the older one; so this reads first and passes the contexts on.
    let before = features.get_many((0..USERS).map(key)).await;
    let mut writes = Vec::with_capacity(USERS);
    for (user, found) in before.into_iter().enumerate() {
        let write = quorate_client::Write::new(key(user), format!("{}", user * user));
        writes.push(write.context(found?.context()));
    }
    let results = features.put_many(writes).await;
    let failed = results.iter().filter(|result| result.is_err()).count();
    println!("wrote {}, failed {failed}", results.len() - failed);

    let found = features.get_many([key(3), key(30), "nobody".to_owned()]).await;
    for (user, found) in ["3", "30", "nobody"].iter().zip(found) {
        let value = found?.single().map_or("nothing".into(), |value| String::from_utf8_lossy(value).into_owned());
        println!("{user}: {value}");
    }

    // Some pages now, the rest later: the cursor is text, good in another process and after the ring has changed.
    let mut scan = features.scan().page_items(100);
    let (mut seen, mut place) = (0, None);
    for _ in 0..3 {
        let Some(page) = scan.next_page().await? else { break };
        seen += page.entries.len();
        place = Some(page.cursor.to_string());
    }
    drop(scan);
    println!("seen {seen} so far");
    if let Some(place) = place {
        let mut scan = features.scan().from(place.parse::<Cursor>()?);
        while let Some(page) = scan.next_page().await? {
            seen += page.entries.len();
        }
    }
    println!("seen {seen} in all");
    client.close().await;
    Ok(())
}
