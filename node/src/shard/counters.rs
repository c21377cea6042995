//! What a shard counts.

/// What a shard has counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Gets coordinated.
    pub gets: u64,
    /// Puts coordinated or forwarded.
    pub puts: u64,
    /// Deletes coordinated or forwarded.
    pub deletes: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Stale replicas sent the newer state.
    pub repairs: u64,
    /// Gets that waited until those that were behind had stored what they lacked.
    pub repairs_awaited: u64,
    /// Times that a read asked one more replica because one was late.
    pub hedges: u64,
    /// Times that it did not, because the budget of hedges was spent.
    pub hedges_denied: u64,
    /// Gets that left a replica out because it was much slower than those asked.
    pub ranked_away: u64,
    /// Gets that asked such a replica besides, to see whether it is quick again.
    pub probes: u64,
    /// Requests that were refused because there were too many already.
    pub overloads: u64,
    /// Of these, those of a client that had its share.
    pub shares_refused: u64,
    /// Batches of background work that waited for the budget.
    pub background_waits: u64,
    /// Transfers of whole partitions that went on where they had broken.
    pub transfers_resumed: u64,
}
