# What a newcomer, a developer and CI type. `make` alone says what there is.
#
# Builds go to a directory outside the clone, so that every clone on a machine shares one build of RocksDB (some 25 minutes of CPU
# the first time). Set CARGO_TARGET_DIR to have them elsewhere.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/quorate/target
# The one profile that the demo, the tests of processes and the benches share.
CARGO_BUILD := cargo build --release --locked
QUORATE := $(CARGO_TARGET_DIR)/release/quorate
QUORATE_SIM := $(CARGO_TARGET_DIR)/release/quorate-sim
PURE := -p quorate-ring -p quorate-simulation
# Cargo tells by times whether a file has changed since it was compiled, and would take what another clone has compiled since for what is here.
BUILT_FROM := $(CARGO_TARGET_DIR)/built-from
$(shell [ "$$(cat $(BUILT_FROM) 2>/dev/null)" = "$(CURDIR)" ] || { mkdir -p $(CARGO_TARGET_DIR) && echo "$(CURDIR)" >$(BUILT_FROM) \
	&& find . -path ./target -prune -o -name '*.rs' -exec touch {} +; } >&2)

.PHONY: help demo demo-elastic build build-optimised test test-pure test-real sim sim-campaign check purity laws mutants fuzz bench bench-repair bench-elastic \
  bench-ring bench-micro bench-instructions bench-floors bench-figures bench-peers install-needs

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: build ## Build, and show three real nodes surviving what they should: a guided tour of half a minute
	@$(QUORATE) demo

demo-elastic: build ## Build, and show nodes that join, leave, die and are replaced under load: three quarters of a minute
	@$(QUORATE) demo --elastic

build: install-needs ## Build the `quorate` binary
	@$(CARGO_BUILD) -p quorate-node

build-optimised: build ## The same for production, laid out by what it runs under load: a fifth to a third less CPU; a quarter of an hour
	@scripts/build-optimised $(CARGO_TARGET_DIR)

test: install-needs test-pure test-real ## Build and pass every test

test-pure: ## Only the pure crates and the simulator: no RocksDB, no sockets, no C++
	cargo test --locked $(PURE)
	cargo test --locked -p quorate-client --no-default-features --lib --tests
	cargo test --locked -p quorate-node --no-default-features
	$(CARGO_BUILD) -p quorate-simulation --bin quorate-sim
	$(QUORATE_SIM) campaign --seconds 45

test-real: build ## Only what needs RocksDB and QUIC: engines, processes, examples
	cargo build --release --locked --examples -p quorate-client
	cargo test --release --locked -p quorate-client -p quorate-node -p quorate-tests

sim: ## Build the simulator's command, `quorate-sim`
	@$(CARGO_BUILD) -p quorate-simulation --bin quorate-sim

sim-campaign: sim ## 100,000 seeds of the simulator: every kind of fault must fire, and every check must hold
	$(QUORATE_SIM) campaign --seeds 100000

check: install-needs purity ## Formatting, lints, documentation
	cargo fmt --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps

purity: ## Show that the core does no I/O: it compiles without any crate that could, and its lints ban the rest
	cargo check --locked -p quorate-node --no-default-features
	cargo clippy --locked -p quorate-ring -p quorate-simulation --all-targets -- -D warnings
	cargo clippy --locked -p quorate-node --no-default-features --all-targets -- -D warnings
	cargo clippy --locked -p quorate-client --no-default-features --all-targets -- -D warnings
	@! cargo tree --locked -p quorate-node --no-default-features -e normal | grep -E ' (tokio|quinn|rocksdb|mio|socket2|getrandom) v' \
	  || { echo 'error: the core depends on a crate that does I/O (above)'; exit 1; }

laws: ## The laws of versions over 100,000 generated cases each
	PROPTEST_CASES=100000 cargo test --locked -p quorate-ring --test version_laws

# Built without optimisation, beside everything else: a mutant is built and tested in seconds. What is mutated: .cargo/mutants.toml.
MUTANTS := CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/mutants CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 PROPTEST_CASES=300 \
  nice -n 19 cargo mutants

mutants: ## Change versions and coordinators in some 700 ways: a test must fail each time (needs `cargo install cargo-mutants --locked`)
	mkdir -p $(CARGO_TARGET_DIR)/mutants/ring $(CARGO_TARGET_DIR)/mutants/node
	$(MUTANTS) -p quorate-ring -o $(CARGO_TARGET_DIR)/mutants/ring -- --lib --test version_laws --test wire_golden --test wire_roundtrip
	$(MUTANTS) -p quorate-node -o $(CARGO_TARGET_DIR)/mutants/node -- --lib --test core_scenarios

fuzz: ## Two minutes of each fuzz target (needs `cargo install cargo-fuzz --locked`)
	cd ring/fuzz && cargo run --example seeds && for target in $$(cargo fuzz list); do \
	  RUSTC_BOOTSTRAP=1 nice -n 19 cargo fuzz run --fuzz-dir . --sanitizer none $$target -- \
	    -max_total_time=120 -max_len=4096 -rss_limit_mb=512; done

bench: build ## A real cluster of three under load: rates, CPU per operation, percentiles, memory
	cargo bench --locked -p quorate-tests --bench cluster

bench-repair: build ## What repair costs, and what a slow node or three times the load costs the foreground
	cargo bench --locked -p quorate-tests --bench repair

bench-elastic: build ## What a change of the members moves, how fast, and what it costs the foreground
	cargo bench --locked -p quorate-tests --bench elastic

bench-ring: ## Placement: balance, movement and speed for 3 to 1,000 nodes
	cargo bench --locked -p quorate-ring --bench placement

bench-micro: ## Nanoseconds of what a put and a get are made of, and of the core's part of both
	cargo bench --locked -p quorate-ring --bench micro
	cargo bench --locked -p quorate-node --no-default-features --bench micro

bench-instructions: ## The same, counted in instructions, which a busy machine does not change (needs valgrind)
	@scripts/bench-instructions

bench-floors: build ## What RocksDB, QUIC and UDP cost alone, which no node gets below
	cargo bench --locked -p quorate-tests --bench floors

bench-figures: build ## What puts and gets cost by values, records, partitions, clients and nodes, beside their floors: forty minutes
	@scripts/bench-figures $(QUORATE)

bench-peers: build ## Beside Redis Cluster and etcd: rates, CPU of the servers, percentiles (apt-get install redis-server redis-tools etcd-server)
	cargo bench --locked -p quorate-tests --bench peers

install-needs:
	@scripts/install-needs
