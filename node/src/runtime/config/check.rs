//! From the shape of the file to values that hold: every number in its range, every name valid, members unique and enough.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_ring::limits::NODES_MAX;
use quorate_ring::wire::Durability;
use quorate_ring::{Capacity, ClusterName, NodeId, PartitionCount, Quorum, ZoneName};
use toml::Spanned;

use crate::limits::{EXCHANGE_INTERVAL, SCRUB_PAUSE, SCRUB_ROUND};

use super::{
    CA_DEFAULT, CACHE_MIB_DEFAULT, CACHE_MIB_MAX, ClusterConfig, ClusterSecret, ConfigError, DATA_DEFAULT,
    EXCHANGE_INTERVAL_MILLIS_MAX, EXCHANGE_INTERVAL_MILLIS_MIN, MemberConfig, NodeConfig, NodeOverrides,
    REPLICAS_DEFAULT, SCRUB_PAUSE_MILLIS_MAX, SCRUB_ROUND_SECONDS_MAX, SECRET_BYTES_MAX, SECRET_BYTES_MIN,
    SECRET_DEFAULT, SECRET_WHAT, SHARDS_MAX, SYNC_INTERVAL_MILLIS_DEFAULT, SYNC_INTERVAL_MILLIS_MAX, Source,
    default_shards, file,
};

const MIB: u64 = 1024 * 1024;

/// Checks the whole.
pub(super) fn node_config(source: &Source, file: file::File, given: NodeOverrides) -> Result<NodeConfig, ConfigError> {
    let file::File { cluster, node } = file;
    let cluster = cluster_config(source, cluster, given.secret)?;
    let id = own_id(source, &cluster, node.id.as_ref(), given.id)?;
    let own = cluster.member(id).map(|member| member.address.as_str());
    let listen = listen_address(source, node.listen.as_ref(), given.listen, own)?;
    let path = |given: Option<PathBuf>, named: Option<String>, default: &dyn Fn() -> String| {
        given.unwrap_or_else(|| source.resolve(named.unwrap_or_else(default)))
    };
    Ok(NodeConfig {
        node: id,
        listen,
        data: path(given.data, node.data, &|| DATA_DEFAULT.to_owned()),
        ca: path(given.ca, node.ca, &|| CA_DEFAULT.to_owned()),
        certificate: path(given.certificate, node.certificate, &|| format!("{id}.pem")),
        key: path(given.key, node.key, &|| format!("{id}.key")),
        shards: shards(source, node.shards.as_ref(), given.shards)?,
        cache_bytes: cache_bytes(source, node.cache_mib.as_ref(), given.cache_mib)?,
        sync_interval: sync_interval(source, node.sync_interval_millis.as_ref(), given.sync_interval_millis)?,
        metrics: metrics_address(source, node.metrics.as_ref(), given.metrics)?,
        exchange_interval: exchange_interval(
            source,
            node.exchange_interval_millis.as_ref(),
            given.exchange_interval_millis,
        )?,
        scrub_pause: scrub_pause(source, node.scrub_pause_millis.as_ref(), given.scrub_pause_millis)?,
        scrub_round: scrub_round(source, node.scrub_round_seconds.as_ref(), given.scrub_round_seconds)?,
        cluster,
    })
}

fn cluster_config(source: &Source, file: file::Cluster, secret: Option<PathBuf>) -> Result<ClusterConfig, ConfigError> {
    let name = ClusterName::new(file.name.get_ref())
        .map_err(|error| at(source, &file.name, format!("cluster.name: {error}")))?;
    let quorum = quorum(source, &file)?;
    let partitions = partitions(source, file.partitions.as_ref())?;
    let durability = file.durability.as_ref().map_or(Ok(Durability::Buffered), |named| durability(source, named))?;
    let (members, join) = match (&file.members, &file.join) {
        (Some(given), None) => (members(source, given, quorum.n())?, Vec::new()),
        (None, Some(given)) => (Vec::new(), join(source, given)?),
        (Some(_), Some(given)) => {
            let expected =
                "expected only one of them: members for a cluster's first nodes, join for one that is added later";
            return Err(at(source, given, format!("cluster.members and cluster.join: {expected}, found both")));
        }
        (None, None) => {
            let expected =
                "expected the cluster's first nodes as members, or addresses of a cluster that is there as join";
            return Err(at(source, &file.name, format!("cluster: {expected}, found neither")));
        }
    };
    let secret = secret.unwrap_or_else(|| source.resolve(file.secret.as_deref().unwrap_or(SECRET_DEFAULT)));
    Ok(ClusterConfig { name, quorum, durability, partitions, members, join, secret: read_secret(&secret)? })
}

fn quorum(source: &Source, file: &file::Cluster) -> Result<Quorum, ConfigError> {
    let n =
        file.replicas.as_ref().map_or(Ok(REPLICAS_DEFAULT), |n| in_range(source, "replicas", n, 1..=Quorum::N_MAX))?;
    let own = |name, given: &Option<Spanned<i64>>| {
        given.as_ref().map(|number| in_range(source, name, number, 1..=n)).transpose()
    };
    let (r, w) = (own("read_quorum", &file.read_quorum)?, own("write_quorum", &file.write_quorum)?);
    Ok(Quorum::majority(n).and_then(|majority| majority.with(r, w)).expect("all three are in their ranges"))
}

fn partitions(source: &Source, given: Option<&Spanned<i64>>) -> Result<PartitionCount, ConfigError> {
    let Some(given) = given else { return Ok(PartitionCount::default()) };
    // What does not fit is as impossible as 0, and the message below says what is possible.
    let count = u32::try_from(*given.get_ref()).unwrap_or(0);
    PartitionCount::new(count).map_err(|_| {
        let expected = "expected a power of two from 8 to 65536 (1024 if in doubt)";
        at(source, given, format!("partitions: {expected}, found {}", given.get_ref()))
    })
}

fn durability(source: &Source, named: &Spanned<String>) -> Result<Durability, ConfigError> {
    match named.get_ref().as_str() {
        "buffered" => Ok(Durability::Buffered),
        "synced" => Ok(Durability::Synced),
        other => Err(at(source, named, format!("durability: expected \"buffered\" or \"synced\", found {other:?}"))),
    }
}

fn members(
    source: &Source,
    given: &Spanned<Vec<Spanned<file::Member>>>,
    replicas: u8,
) -> Result<Vec<MemberConfig>, ConfigError> {
    let mut members = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for entry in given.get_ref() {
        let entry = entry.get_ref();
        let member = member(source, entry)?;
        if let Some(first) = addresses.insert(member.address.clone(), member.node) {
            let message = format!("address: {:?} is already the address of {first}", member.address);
            return Err(at(source, &entry.address, message));
        }
        let id = member.node;
        if members.insert(id, member).is_some() {
            return Err(at(
                source,
                &entry.node,
                format!("node: {id} is already a member; each member has its own number"),
            ));
        }
    }
    // The span of an array of tables is that of its first table, which is where more of them would be added.
    let found = members.len();
    if found < usize::from(replicas) {
        let message = format!(
            "cluster.members: expected at least as many members as replicas ({replicas}), since each replica of a key is on a \
             node of its own, found {found}"
        );
        return Err(at(source, given, message));
    }
    if NODES_MAX < found {
        return Err(at(source, given, format!("cluster.members: expected at most {NODES_MAX} members, found {found}")));
    }
    Ok(members.into_values().collect())
}

fn join(source: &Source, given: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<String>, ConfigError> {
    if given.get_ref().is_empty() {
        return Err(at(source, given, "cluster.join: expected the address of a node at least, found none"));
    }
    let address = |address: &Spanned<String>| match split_address(address.get_ref()) {
        Ok(_) => Ok(address.get_ref().clone()),
        Err(problem) => Err(at(source, address, format!("cluster.join: {problem}, found {:?}", address.get_ref()))),
    };
    given.get_ref().iter().map(address).collect()
}

fn member(source: &Source, file: &file::Member) -> Result<MemberConfig, ConfigError> {
    let node = node_id(source, &file.node)?;
    if let Err(problem) = split_address(file.address.get_ref()) {
        return Err(at(source, &file.address, format!("address: {problem}, found {:?}", file.address.get_ref())));
    }
    let zone = match &file.zone {
        None => None,
        Some(zone) => Some(ZoneName::new(zone.get_ref()).map_err(|error| at(source, zone, format!("zone: {error}")))?),
    };
    let capacity = match &file.capacity {
        None => Capacity::default(),
        Some(given) => {
            let weight = in_range(source, "capacity", given, 1..=u32::MAX)?;
            Capacity::new(weight).expect("the range begins at 1")
        }
    };
    Ok(MemberConfig { node, address: file.address.get_ref().clone(), zone, capacity })
}

fn node_id(source: &Source, given: &Spanned<i64>) -> Result<NodeId, ConfigError> {
    let number = in_range(source, "node", given, 1..=u32::MAX)?;
    Ok(NodeId::new(number).expect("the range begins at 1"))
}

/// Host and port of an address; the error says what an address is.
pub(super) fn split_address(address: &str) -> Result<(&str, u16), &'static str> {
    let expected = "expected host:port, with a port from 1 to 65535 (and an IPv6 address in brackets)";
    let (host, port) = address.rsplit_once(':').ok_or(expected)?;
    let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or(expected)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    match host {
        "" => Err(expected),
        _ if bracketed => {
            host[1..host.len() - 1].parse::<Ipv6Addr>().map_err(|_| expected)?;
            Ok((host, port))
        }
        _ if plain => Ok((host, port)),
        _ => Err(expected),
    }
}

fn own_id(
    source: &Source,
    cluster: &ClusterConfig,
    named: Option<&Spanned<i64>>,
    given: Option<u32>,
) -> Result<NodeId, ConfigError> {
    let members = || cluster.members.iter().map(|member| member.node.to_string()).collect::<Vec<_>>().join(", ");
    // Whoever joins chooses a number that no node has had.
    let joins = !cluster.join.is_empty();
    let possible = |id: NodeId| joins || cluster.member(id).is_some();
    let wrong = |found: &dyn fmt::Display| match joins {
        true => format!("expected a number from 1 to {} that no node of the cluster has had, found {found}", u32::MAX),
        false => format!("expected the number of one of the members ({}), found {found}", members()),
    };
    let refused = |message| ConfigError::Override { flag: "--id", variable: "QUORATE_NODE_ID", message };
    match (given, named) {
        (Some(number), _) => NodeId::new(number).filter(|id| possible(*id)).ok_or_else(|| refused(wrong(&number))),
        (None, Some(named)) => u32::try_from(*named.get_ref())
            .ok()
            .and_then(NodeId::new)
            .filter(|id| possible(*id))
            .ok_or_else(|| at(source, named, format!("node.id: {}", wrong(named.get_ref())))),
        (None, None) => Err(refused(wrong(&"nothing, here or as id under [node] in the file"))),
    }
}

fn listen_address(
    source: &Source,
    named: Option<&Spanned<String>>,
    given: Option<SocketAddr>,
    own: Option<&str>,
) -> Result<SocketAddr, ConfigError> {
    if let Some(given) = given {
        return Ok(given);
    }
    if let Some(named) = named {
        return named.get_ref().parse().map_err(|_| {
            let expected = "expected an IP address and a port, such as \"0.0.0.0:7401\"";
            at(source, named, format!("node.listen: {expected}, found {:?}", named.get_ref()))
        });
    }
    let Some(own) = own else {
        let message = "expected the address to listen on, such as 0.0.0.0:7401, here or as listen under [node] in the file, since a node \
                       that joins is not among the members, found nothing";
        return Err(ConfigError::Override {
            flag: "--listen",
            variable: "QUORATE_NODE_LISTEN",
            message: message.to_owned(),
        });
    };
    if let Ok(address) = own.parse() {
        return Ok(address);
    }
    let (_, port) = split_address(own).expect("the member's address was checked");
    Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
}

fn shards(source: &Source, named: Option<&Spanned<i64>>, given: Option<u16>) -> Result<NonZeroU16, ConfigError> {
    let flag = ("--shards", "QUORATE_NODE_SHARDS");
    let number = chosen(source, "shards", flag, named, given, 1..=SHARDS_MAX)?;
    Ok(number.map_or_else(default_shards, |number| NonZeroU16::new(number).expect("the range begins at 1")))
}

fn cache_bytes(source: &Source, named: Option<&Spanned<i64>>, given: Option<u64>) -> Result<NonZeroUsize, ConfigError> {
    let flag = ("--cache-mib", "QUORATE_NODE_CACHE_MIB");
    let mib = chosen(source, "cache_mib", flag, named, given, 1..=CACHE_MIB_MAX)?.unwrap_or(CACHE_MIB_DEFAULT);
    let bytes = usize::try_from(mib * MIB).unwrap_or(usize::MAX);
    Ok(NonZeroUsize::new(bytes).expect("the range begins at 1"))
}

fn sync_interval(source: &Source, named: Option<&Spanned<i64>>, given: Option<u64>) -> Result<Duration, ConfigError> {
    let flag = ("--sync-interval-millis", "QUORATE_NODE_SYNC_INTERVAL_MILLIS");
    let millis = chosen(source, "sync_interval_millis", flag, named, given, 1..=SYNC_INTERVAL_MILLIS_MAX)?;
    Ok(Duration::from_millis(millis.unwrap_or(SYNC_INTERVAL_MILLIS_DEFAULT)))
}

fn metrics_address(
    source: &Source,
    named: Option<&Spanned<String>>,
    given: Option<SocketAddr>,
) -> Result<Option<SocketAddr>, ConfigError> {
    let parse = |named: &Spanned<String>| {
        named.get_ref().parse().map_err(|_| {
            let expected = "expected an IP address and a port, such as \"127.0.0.1:9464\"";
            at(source, named, format!("node.metrics: {expected}, found {:?}", named.get_ref()))
        })
    };
    given.map_or_else(|| named.map(parse).transpose(), |given| Ok(Some(given)))
}

fn exchange_interval(
    source: &Source,
    named: Option<&Spanned<i64>>,
    given: Option<u64>,
) -> Result<Duration, ConfigError> {
    let flag = ("--exchange-interval-millis", "QUORATE_NODE_EXCHANGE_INTERVAL_MILLIS");
    let range = EXCHANGE_INTERVAL_MILLIS_MIN..=EXCHANGE_INTERVAL_MILLIS_MAX;
    let millis = chosen(source, "exchange_interval_millis", flag, named, given, range)?;
    Ok(millis.map_or(EXCHANGE_INTERVAL, Duration::from_millis))
}

fn scrub_pause(source: &Source, named: Option<&Spanned<i64>>, given: Option<u64>) -> Result<Duration, ConfigError> {
    let flag = ("--scrub-pause-millis", "QUORATE_NODE_SCRUB_PAUSE_MILLIS");
    let millis = chosen(source, "scrub_pause_millis", flag, named, given, 1..=SCRUB_PAUSE_MILLIS_MAX)?;
    Ok(millis.map_or(SCRUB_PAUSE, Duration::from_millis))
}

fn scrub_round(source: &Source, named: Option<&Spanned<i64>>, given: Option<u64>) -> Result<Duration, ConfigError> {
    let flag = ("--scrub-round-seconds", "QUORATE_NODE_SCRUB_ROUND_SECONDS");
    let seconds = chosen(source, "scrub_round_seconds", flag, named, given, 1..=SCRUB_ROUND_SECONDS_MAX)?;
    Ok(seconds.map_or(SCRUB_ROUND, Duration::from_secs))
}

/// The flag's number, or else the file's, if there is any; in its range.
fn chosen<T>(
    source: &Source,
    name: &str,
    (flag, variable): (&'static str, &'static str),
    named: Option<&Spanned<i64>>,
    given: Option<T>,
    range: RangeInclusive<T>,
) -> Result<Option<T>, ConfigError>
where
    T: TryFrom<i64> + PartialOrd + fmt::Display,
{
    match given {
        Some(number) if range.contains(&number) => Ok(Some(number)),
        Some(number) => {
            let message = format!("expected a number from {} to {}, found {number}", range.start(), range.end());
            Err(ConfigError::Override { flag, variable, message })
        }
        None => named.map(|named| in_range(source, name, named, range)).transpose(),
    }
}

fn in_range<T>(source: &Source, name: &str, given: &Spanned<i64>, range: RangeInclusive<T>) -> Result<T, ConfigError>
where
    T: TryFrom<i64> + PartialOrd + fmt::Display,
{
    match T::try_from(*given.get_ref()) {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            let (low, high) = (range.start(), range.end());
            Err(at(source, given, format!("{name}: expected a number from {low} to {high}, found {}", given.get_ref())))
        }
    }
}

/// Reads a secret. A line break at its end, which editors like to add, is not part of it.
fn read_secret(path: &Path) -> Result<ClusterSecret, ConfigError> {
    let mut bytes =
        fs::read(path).map_err(|source| ConfigError::Read { what: SECRET_WHAT, path: path.to_owned(), source })?;
    bytes.truncate(bytes.trim_ascii_end().len());
    if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
        return Err(ConfigError::Secret { path: path.to_owned(), bytes: bytes.len() });
    }
    Ok(ClusterSecret(bytes))
}

fn at<T>(source: &Source, place: &Spanned<T>, message: impl fmt::Display) -> ConfigError {
    source.error(place.span(), message.to_string())
}
