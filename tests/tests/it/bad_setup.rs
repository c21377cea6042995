//! Nodes that must not start: wrong configurations, ports and data directories in use, stores of others.

use std::net::UdpSocket;

use quorate_tests::{Cluster, ClusterOptions, Ended, wait};

#[track_caller]
fn assert_ended(ended: &Ended, code: i32, phrases: &[&str]) {
    assert_eq!(ended.code, code, "{}", ended.log);
    for phrase in phrases {
        assert!(ended.log.contains(phrase), "expected {phrase:?} in\n{}", ended.log);
    }
}

/// Asserts that a node does not start.
#[track_caller]
fn assert_refused(cluster: &mut Cluster, node: u32, code: i32, phrases: &[&str]) {
    let ended = cluster.node(node).try_start().expect_err("it must not start");
    assert_ended(&ended, code, phrases);
}

fn prepared() -> Cluster {
    ClusterOptions::new(3).prepare()
}

#[test]
fn a_mistake_in_the_configuration_is_shown_where_it_is() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("shards = 2", "shards = 0", &["n1.toml:12:10: shards: expected a number from 1 to 64, found 0"]),
        ("shards = 2", "shard = 2", &["n1.toml:12:", "unknown field", "shards"]),
        ("shards = 2", "shards = [", &["n1.toml:12:"]),
        ("id = 1", "id = 9", &["n1.toml:10:", "node.id", "n1, n2, n3", "found 9"]),
        ("name = \"it\"", "name = \"No Good\"", &["n1.toml:2:", "cluster.name"]),
        ("name = \"it\"\n", "name = \"it\"\nreplicas = 4\n", &["n1.toml:", "replicas (4)", "found 3"]),
        ("name = \"it\"\n", "name = \"it\"\nwrite_quorum = 4\n", &["n1.toml:3:", "write_quorum", "from 1 to 3"]),
        (
            "name = \"it\"\n",
            "name = \"it\"\nsecret = \"nowhere\"\n",
            &["cluster secret", "nowhere", "quorate cert init"],
        ),
        ("shards = 2", "certificate = \"nowhere.pem\"", &["certificate", "nowhere.pem", "quorate cert node"]),
        ("shards = 2", "ca = \"nowhere.pem\"", &["CA certificate", "nowhere.pem", "quorate cert init"]),
        ("shards = 2", "certificate = \"n2.pem\"", &["n2.pem", "n1.key"]),
        ("shards = 2", "certificate = \"n2.pem\"\nkey = \"n2.key\"", &["n2.pem", "n1.it.quorate", "quorate cert node"]),
        ("shards = 2", "shards = \"two\"", &["n1.toml:12:10: shards: invalid type", "two"]),
    ];
    for (old, new, phrases) in cases {
        let mut cluster = prepared();
        cluster.node(1).edit_config(old, new);
        // Certificates are files of this machine, all else is the configuration's fault.
        let code = if new.starts_with("c") { 5 } else { 2 };
        assert_refused(&mut cluster, 1, code, phrases);
    }
    let mut cluster = prepared();
    std::fs::remove_file(cluster.node(1).config()).expect("it is there");
    assert_refused(&mut cluster, 1, 2, &["cannot read the configuration", "n1.toml", "quorate node --help"]);
}

#[test]
fn a_port_in_use_is_named() {
    let mut cluster = prepared();
    let address = cluster.node(1).address();
    let _taken = UdpSocket::bind(address).expect("it is free");
    assert_refused(
        &mut cluster,
        1,
        5,
        &[&format!("cannot listen on UDP {address}"), "another process listens there", "--listen"],
    );
    assert!(!cluster.node(1).data().exists(), "a node that cannot listen makes nothing");
}

#[test]
fn a_data_directory_is_used_by_one_process_at_a_time() {
    let mut cluster = prepared();
    cluster.node(1).start();
    let second = cluster.node(1).another_process().arg("--listen").arg("127.0.0.1:0").run();
    second.ends_with(5).says(&["n1.data", "in use by another process"]);
    assert!(cluster.node(1).is_running(), "the first is not disturbed");
    assert_eq!(cluster.node(1).stop().code, 0);
}

#[test]
fn a_store_of_another_node_cluster_or_layout_is_refused_and_unharmed() {
    let mut cluster = prepared();
    let first = cluster.node(1).start();
    assert_eq!(cluster.node(1).stop().code, 0);
    let data = cluster.node(1).data().display().to_string();

    cluster.node(2).set_flags(&["--data", &data]);
    assert_refused(&mut cluster, 2, 5, &[&data, "belongs to node n1, not to n2"]);

    let mut other = ClusterOptions::new(3).name("other").prepare();
    other.node(1).set_flags(&["--data", &data]);
    assert_refused(&mut other, 1, 5, &[&data, "belongs to cluster", "it", "other"]);

    let original = "name = \"it\"\n";
    let partitions = "name = \"it\"\npartitions = 64\n";
    cluster.node(1).edit_config(original, partitions);
    assert_refused(&mut cluster, 1, 5, &["1024 partitions", "says 64", "fixed when a cluster is created"]);
    cluster.node(1).edit_config(partitions, original);

    let (members, fewer) = ("{ node = 3, ", "{ capacity = 50, node = 3, ");
    cluster.node(1).edit_config(members, fewer);
    let again = cluster.node(1).start();
    assert_eq!(again.incarnation, first.incarnation, "none of those who were refused has touched the store");
    // Who the members are it has stored: the configuration says only how a cluster begins.
    assert_ended(&cluster.node(1).stop(), 0, &["goes by what it has stored, not by the configuration's list"]);
}

#[test]
fn a_file_in_the_place_of_the_data_directory_is_told() {
    let mut cluster = prepared();
    std::fs::write(cluster.node(1).data(), "a file").expect("the temporary directory can be written");
    assert_refused(&mut cluster, 1, 5, &["n1.data as data directory: it is no directory", "--data"]);
}

#[test]
fn only_quorums_that_may_miss_writes_are_warned_of_and_a_clean_stop_is_not() {
    let mut cluster = prepared();
    cluster.start_all();
    let connected = |log: &str| (log.matches("connected to peer").count() == 2).then_some(());
    wait::until("n3 has found the others", wait::BOUND, || connected(&cluster.node(3).log()));
    let ended = cluster.node(3).stop();
    assert_ended(&ended, 0, &["stopped"]);
    assert!(!ended.log.contains("WARN") && !ended.log.contains("ERROR"), "{}", ended.log);

    cluster.node(3).edit_config("name = \"it\"\n", "name = \"it\"\nread_quorum = 1\nwrite_quorum = 2\n");
    cluster.node(3).start();
    let ended = cluster.node(3).stop();
    assert_ended(&ended, 0, &["WARN", "reads may miss acknowledged writes", "read_quorum=1"]);
}

#[test]
fn a_forced_new_incarnation_is_one() {
    let mut cluster = prepared();
    let first = cluster.node(1).start();
    assert_eq!(cluster.node(1).stop().code, 0);
    cluster.node(1).set_flags(&["--new-incarnation"]);
    assert_ne!(cluster.node(1).start().incarnation, first.incarnation);
}

#[test]
fn help_names_every_exit_code_and_a_whole_configuration() {
    let help = quorate_tests::Quorate::new(["--help"]).run();
    for code in 0..=5 {
        assert!(help.ends_with(0).stdout.contains(&format!("\n  {code}  ")), "{help}");
    }
    let help = quorate_tests::Quorate::new(["node", "--help"]).run();
    for setting in ["[cluster]", "[[cluster.members]]", "sync_interval_millis", "cluster.secret", "--new-incarnation"] {
        assert!(help.ends_with(0).stdout.contains(setting), "{setting}: {help}");
    }
}
