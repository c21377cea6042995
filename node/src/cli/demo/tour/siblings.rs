//! Two clients write one key without seeing each other; nothing is lost, and what is deleted stays so.

use quorate_client::{Bucket, Found};

use super::Tour;
use crate::cli::connect::failure;
use crate::cli::exit::Failure;

/// The bucket of the carts.
const CARTS: &str = "carts";
const CART: &str = "cart:7";

impl Tour<'_> {
    /// The shopping cart of the Dynamo paper (section 4.4).
    pub(super) async fn siblings(&mut self) -> Result<(), Failure> {
        self.teller.step("Two clients write one cart, neither seeing the other")?;
        let (one, two) = (self.connect().await?, self.connect().await?);
        let cart_of = |client: &quorate_client::Client| client.bucket(CARTS).map_err(|error| failure(&error));
        let (phone, laptop) = (cart_of(&one)?, cart_of(&two)?);
        let result = self.cart(&phone, &laptop).await;
        one.close().await;
        two.close().await;
        result
    }

    async fn cart(&mut self, phone: &Bucket, laptop: &Bucket) -> Result<(), Failure> {
        self.put(phone, "the phone", "book").await?;
        self.put(laptop, "the laptop", "lamp").await?;
        let found = self.get(phone).await?;
        let both = texts(&found) == ["book", "lamp"];
        self.teller.promise("no write silently replaces another", both, format!("siblings {:?}", texts(&found)))?;

        self.teller.say(
            "The application merges them, and writes with the context of its read, which replaces exactly those two:",
        )?;
        self.teller.command(&format!("quorate put --bucket {CARTS} {CART} 'book,lamp' --context {}", short(&found)))?;
        let merged = texts(&found).join(",");
        phone.put(CART, merged).context(found.context()).await.map_err(|error| failure(&error))?;
        let found = self.get(laptop).await?;
        let one = texts(&found) == ["book,lamp"];
        self.teller.promise("a context replaces what it has seen", one, format!("one value, {:?}", texts(&found)))?;

        self.teller.command(&format!("quorate delete --bucket {CARTS} {CART} --context {}", short(&found)))?;
        laptop.delete(CART).context(found.context()).await.map_err(|error| failure(&error))?;
        let found = self.get(phone).await?;
        let nothing = found.values().is_empty();
        self.teller.promise("what is deleted is gone", nothing, format!("{} values", found.values().len()))
    }

    async fn put(&self, cart: &Bucket, who: &str, value: &'static str) -> Result<(), Failure> {
        self.teller.say(&format!("{who}:"))?;
        self.teller.command(&format!("quorate put --bucket {CARTS} {CART} {value}"))?;
        cart.put(CART, value).await.map(|_| ()).map_err(|error| failure(&error))
    }

    async fn get(&self, cart: &Bucket) -> Result<Found, Failure> {
        self.teller.command(&format!("quorate get --bucket {CARTS} {CART}"))?;
        let found = cart.get(CART).await.map_err(|error| failure(&error))?;
        for value in texts(&found) {
            self.teller.say(&value)?;
        }
        Ok(found)
    }
}

/// The values as text, in alphabetical order: siblings have no order of their own.
fn texts(found: &Found) -> Vec<String> {
    let mut texts: Vec<_> = found.values().iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    texts.sort();
    texts
}

/// A context as a person would paste it, cut.
fn short(found: &Found) -> String {
    let text = found.context().to_text();
    format!("{}...", text.get(..8).unwrap_or(&text))
}
