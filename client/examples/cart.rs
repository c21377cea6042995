//! A shopping cart that two devices change at the same time, and that loses nothing (the Dynamo paper, section 4.4).
//!
//! ```sh
//! export QUORATE_SEEDS=127.0.0.1:7401 QUORATE_CLUSTER=demo
//! export QUORATE_CA=ca.pem QUORATE_CERTIFICATE=client.pem QUORATE_KEY=client.key
//! cargo run --example cart
//! ```

use std::collections::BTreeSet;
use std::error::Error;

use bytes::Bytes;
use quorate_client::{Bucket, Client};

/// The items of a cart, one on each line.
fn items(cart: &[u8]) -> BTreeSet<String> {
    String::from_utf8_lossy(cart).lines().map(str::to_owned).collect()
}

/// A cart is merged by taking what is in any sibling: an item added anywhere stays.
fn merge(siblings: &[Bytes]) -> BTreeSet<String> {
    siblings.iter().flat_map(|cart| items(cart)).collect()
}

fn text(items: &BTreeSet<String>) -> String {
    items.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// Adds an item, whatever else is there or is added meanwhile.
async fn add(carts: &Bucket, who: &str, item: &str) -> Result<(), quorate_client::Error> {
    let with_item = |siblings: &[Bytes]| {
        let mut cart = merge(siblings);
        cart.insert(item.to_owned());
        text(&cart)
    };
    carts.update(who, with_item).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::from_env().await?;
    let carts = client.bucket("carts")?;
    carts.delete("ann").await?;

    // Two devices add at the same time. Neither waits for the other, and no lock is held.
    tokio::try_join!(add(&carts, "ann", "milk"), add(&carts, "ann", "eggs"))?;

    // Two devices that read the same state and then write blindly make siblings: both are kept.
    let seen = carts.get("ann").await?;
    let with = |item: &str| {
        let mut cart = merge(seen.values());
        cart.insert(item.to_owned());
        text(&cart)
    };
    let first = carts.put("ann", with("tea")).context(seen.context());
    let second = carts.put("ann", with("bread")).context(seen.context());
    tokio::try_join!(first.into_future(), second.into_future())?;
    println!("siblings after two concurrent writes: {}", carts.get("ann").await?.values().len());

    // The next update merges them into one again.
    let updated = carts.update("ann", |siblings| text(&merge(siblings))).await?;
    let cart = items(updated.value());
    println!("the merged cart: {}", cart.into_iter().collect::<Vec<_>>().join(", "));
    client.close().await;
    Ok(())
}
