//! The shape of a node's configuration file, before its values are checked. What each field means is told at
//! [`super::NodeConfig`] and [`super::ClusterConfig`].

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) cluster: Cluster,
    #[serde(default)]
    pub(super) node: Node,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cluster {
    pub(super) name: Spanned<String>,
    pub(super) partitions: Option<Spanned<i64>>,
    pub(super) replicas: Option<Spanned<i64>>,
    pub(super) read_quorum: Option<Spanned<i64>>,
    pub(super) write_quorum: Option<Spanned<i64>>,
    pub(super) durability: Option<Spanned<String>>,
    pub(super) secret: Option<String>,
    pub(super) members: Option<Spanned<Vec<Spanned<Member>>>>,
    pub(super) join: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    pub(super) node: Spanned<i64>,
    pub(super) address: Spanned<String>,
    pub(super) zone: Option<Spanned<String>>,
    pub(super) capacity: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Node {
    pub(super) id: Option<Spanned<i64>>,
    pub(super) data: Option<String>,
    pub(super) listen: Option<Spanned<String>>,
    pub(super) ca: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) shards: Option<Spanned<i64>>,
    pub(super) cache_mib: Option<Spanned<i64>>,
    pub(super) sync_interval_millis: Option<Spanned<i64>>,
    pub(super) exchange_interval_millis: Option<Spanned<i64>>,
    pub(super) scrub_pause_millis: Option<Spanned<i64>>,
    pub(super) scrub_round_seconds: Option<Spanned<i64>>,
    pub(super) metrics: Option<Spanned<String>>,
}
