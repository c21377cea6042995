//! What a configuration file may say, and how refusals point at the place.

use std::fs;

use tempfile::TempDir;

use super::*;

const GOOD: &str = r#"[cluster]
name = "demo"
members = [
    { node = 2, address = "127.0.0.1:7402", zone = "b", capacity = 50 },
    { node = 1, address = "127.0.0.1:7401" },
    { node = 3, address = "store-3.example:7403" },
]
[node]
id = 1
"#;

fn load_with(text: &str, overrides: NodeOverrides) -> (TempDir, Result<NodeConfig, ConfigError>) {
    let directory = TempDir::new().expect("a temporary directory");
    fs::write(directory.path().join("node.toml"), text).expect("written");
    fs::write(directory.path().join("cluster.secret"), "s".repeat(32) + "\n").expect("written");
    fs::write(directory.path().join("short.secret"), "s".repeat(31) + "\n").expect("written");
    let config = NodeConfig::load(&directory.path().join("node.toml"), overrides);
    (directory, config)
}

/// What is said about a file, without the temporary directory's name.
fn complaint(text: &str) -> String {
    let (directory, config) = load_with(text, NodeOverrides::default());
    let complaint = config.expect_err("refused").to_string();
    complaint.replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn short_file_gets_the_documented_defaults() {
    let (directory, config) = load_with(GOOD, NodeOverrides::default());
    let config = config.expect("valid");
    assert_eq!((config.cluster.quorum.n(), config.cluster.quorum.r(), config.cluster.quorum.w()), (3, 2, 2));
    assert_eq!(config.cluster.partitions.get(), 1024);
    assert_eq!(config.cluster.durability, Durability::Buffered);
    assert_eq!(config.cluster.secret.as_bytes(), "s".repeat(32).as_bytes(), "the line break is not part of the secret");
    let ids: Vec<_> = config.cluster.members.iter().map(|member| member.node.number()).collect();
    assert_eq!(ids, [1, 2, 3], "by rising id");
    assert_eq!(config.listen, "127.0.0.1:7401".parse().expect("an address"));
    assert_eq!(config.data, directory.path().join("data"));
    assert_eq!(config.certificate, directory.path().join("n1.pem"));
    assert_eq!(config.key, directory.path().join("n1.key"));
    assert_eq!(config.cache_bytes.get(), 256 * 1024 * 1024);
    assert_eq!(config.sync_interval, Duration::from_millis(100));
    assert_eq!(config.exchange_interval, Duration::from_secs(2));
    assert_eq!((config.scrub_pause, config.scrub_round), (Duration::from_secs(1), Duration::from_secs(6 * 60 * 60)));
    assert!((1..=SHARDS_DEFAULT_MAX).contains(&config.shards.get()));
    assert!(!format!("{config:?}").contains("sss"), "the secret is not shown");
}

#[test]
fn overrides_win_over_the_file() {
    let overrides =
        NodeOverrides { id: Some(3), shards: Some(7), data: Some("elsewhere".into()), ..Default::default() };
    let overrides = NodeOverrides { scrub_pause_millis: Some(5), scrub_round_seconds: Some(60), ..overrides };
    let config = load_with(GOOD, overrides).1.expect("valid");
    assert_eq!((config.node.number(), config.shards.get()), (3, 7));
    assert_eq!((config.scrub_pause, config.scrub_round), (Duration::from_millis(5), Duration::from_secs(60)));
    assert_eq!(config.data, PathBuf::from("elsewhere"), "relative to the working directory");
    assert_eq!(config.listen, "0.0.0.0:7403".parse().expect("an address"), "a member with a name listens everywhere");
}

#[test]
fn override_out_of_range_names_the_flag_and_the_variable() {
    let overrides = NodeOverrides { shards: Some(65), ..Default::default() };
    let error = load_with(GOOD, overrides).1.expect_err("refused").to_string();
    assert_eq!(error, "--shards (or QUORATE_NODE_SHARDS): expected a number from 1 to 64, found 65");
    let overrides = NodeOverrides { id: Some(9), ..Default::default() };
    let error = load_with(GOOD, overrides).1.expect_err("refused").to_string();
    assert_eq!(error, "--id (or QUORATE_NODE_ID): expected the number of one of the members (n1, n2, n3), found 9");
}

#[test]
fn refusals_name_line_and_column_what_was_expected_and_found() {
    let cases = [
        ("name = \"demo\"", "name = \"Demo\"", "node.toml:2:8: cluster.name: \"Demo\" is no valid name"),
        ("name = \"demo\"", "nam = \"demo\"", "node.toml:2:1: unknown field `nam`, expected one of `name`"),
        ("name = \"demo\"", "name = 7", "node.toml:2:8: name: invalid type: integer `7`, expected a string"),
        ("name = \"demo\"", "name = ", "node.toml:2:8: "),
        (
            "name = \"demo\"",
            "name = \"demo\"\nreplicas = 0",
            "node.toml:3:12: replicas: expected a number from 1 to 16, found 0",
        ),
        ("name = \"demo\"", "name = \"demo\"\nreplicas = 4", "expected at least as many members as replicas (4)"),
        (
            "name = \"demo\"",
            "name = \"demo\"\nread_quorum = 4",
            "node.toml:3:15: read_quorum: expected a number from 1 to 3, found 4",
        ),
        (
            "name = \"demo\"",
            "name = \"demo\"\nwrite_quorum = 0",
            "node.toml:3:16: write_quorum: expected a number from 1 to 3, found 0",
        ),
        (
            "name = \"demo\"",
            "name = \"demo\"\nwrite_quorum = -1",
            "node.toml:3:16: write_quorum: expected a number from 1 to 3, found -1",
        ),
        (
            "name = \"demo\"",
            "name = \"demo\"\npartitions = 1000",
            "node.toml:3:14: partitions: expected a power of two",
        ),
        (
            "name = \"demo\"",
            "name = \"demo\"\ndurability = \"fast\"",
            "node.toml:3:14: durability: expected \"buffered\" or",
        ),
        ("node = 1", "node = 2", "node.toml:5:14: node: n2 is already a member"),
        ("7401\" }", "7402\" }", "node.toml:5:27: address: \"127.0.0.1:7402\" is already the address of n2"),
        ("127.0.0.1:7401", "127.0.0.1", "node.toml:5:27: address: expected host:port"),
        ("127.0.0.1:7401", "::1:7401", "node.toml:5:27: address: expected host:port"),
        ("capacity = 50", "capacity = 0", "node.toml:4:68: capacity: expected a number from 1"),
        ("zone = \"b\"", "zone = \"B b\"", "node.toml:4:52: zone: \"B b\" is no valid name"),
        ("id = 1", "id = 4", "node.toml:9:6: node.id: expected the number of one of the members (n1, n2, n3), found 4"),
        ("id = 1", "id = 1\nshards = 0", "node.toml:10:10: shards: expected a number from 1 to 64, found 0"),
        (
            "id = 1",
            "id = 1\nscrub_pause_millis = 0",
            "node.toml:10:22: scrub_pause_millis: expected a number from 1 to 60000, found 0",
        ),
        (
            "id = 1",
            "id = 1\nscrub_round_seconds = 9000000",
            "node.toml:10:23: scrub_round_seconds: expected a number from 1 to 2592000, found 9000000",
        ),
        ("id = 1", "id = 1\nlisten = \"here\"", "node.toml:10:10: node.listen: expected an IP address and a port"),
        (
            "id = 1",
            "",
            "--id (or QUORATE_NODE_ID): expected the number of one of the members (n1, n2, n3), found nothing",
        ),
    ];
    for (from, to, expected) in cases {
        let complaint = complaint(&GOOD.replacen(from, to, 1));
        assert!(complaint.contains(expected), "{to}: {complaint}");
    }
}

#[test]
fn missing_field_points_at_its_table() {
    let neither = "node.toml:2:8: cluster: expected the cluster's first nodes as members, or addresses of a cluster that is there as join, \
                   found neither";
    assert_eq!(complaint("[cluster]\nname = \"demo\"\n"), neither);
}

#[test]
fn missing_and_short_secrets_are_told_apart() {
    let named = |file: &str| GOOD.replacen("name = \"demo\"", &format!("name = \"demo\"\nsecret = \"{file}\""), 1);
    assert!(complaint(&named("nowhere")).starts_with("cannot read the cluster secret nowhere: "));
    assert_eq!(complaint(&named("short.secret")), "the cluster secret short.secret has 31 bytes; expected 32 to 4096");
}
