# netd. The two commands of a newcomer: `make run` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help run test check bench bench-history captures pcaps accuracy calibrate redteam redteam-tools attribution torture fuzz fuzz-short api-tools api-fuzz openapi ebpf ebpf-tools ebpf-check fmt deps install-deny clean

SHELL := bash
CARGO ?= cargo
SUDO := $(if $(filter 0,$(shell id -u)),,$(shell command -v sudo))

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

run: deps ## Builds netd and shows it find, explain and cut a beacon (as root; without root it replays a capture)
	$(CARGO) build --locked --release -p netd
	@if [ "$$(id -u)" = 0 ] || [ -n "$(SUDO)" ]; then $(SUDO) target/release/netd demo; else target/release/netd demo; fi

test: deps ## Runs every test; as root also those with kernel programs and network namespaces
	NETD_BIN="$${CARGO_TARGET_DIR:-$(CURDIR)/target}/debug/netd" $(CARGO) test --locked --workspace

check: install-deny ## Formatting, lints, licences, bans, sources, advisories
	$(CARGO) fmt --all --check
	cd netd-ebpf && rustfmt --edition 2024 --check src/main.rs src/bin/limits.rs
	@for crate in fuzz netd-ebpf; do (cd $$crate && $(CARGO) metadata --locked --format-version 1 >/dev/null) \
		|| { echo "$$crate/Cargo.lock is behind its manifests: run cargo metadata there and commit it"; exit 1; }; done
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) deny --all-features check bans licenses sources
	@$(CARGO) deny --all-features check advisories 2>target/advisories.log \
		|| { grep -qE '^error\[|advisory' target/advisories.log && ! grep -qiE 'fetch|resolve|connect|network' target/advisories.log \
			&& { cat target/advisories.log; exit 1; } || echo 'advisories: left out, their database cannot be reached'; }

bench: deps ## Prints the packet path's, replay's and engine's figures beside their limits
	$(CARGO) bench --locked -p netd-lab --bench packet_path

bench-history: deps ## Writes ten million flows into history and prints how fast they are found (ROWS=1000000)
	$(CARGO) bench --locked -p netd-lab --bench history -- --gate --rows $(or $(ROWS),10000000)

captures: deps ## The accuracy report's part about labelled captures (NETD_CAPTURES, default ../shared/captures)
	$(CARGO) build --locked --release -p netd
	NETD_BIN="$${CARGO_TARGET_DIR:-$(CURDIR)/target}/release/netd" $(CARGO) run --locked --release -p netd-lab --bin accuracy -- \
		--only captures $(if $(NETD_CAPTURES),--captures $(NETD_CAPTURES))

pcaps: ## Writes the captures in pcaps/ anew, byte for byte as they are
	$(CARGO) run --locked --release -p netd-lab --bin pcaps -- pcaps

accuracy: deps ## Measures what is found, how soon and how wrongly; keeps it in docs/ (DAY_SEED=1; QUICK=1 keeps nothing)
	$(CARGO) build --locked --release -p netd
	NETD_BIN="$${CARGO_TARGET_DIR:-$(CURDIR)/target}/release/netd" $(CARGO) run --locked --release -p netd-lab --bin accuracy -- \
		--day-seed $(or $(DAY_SEED),1) $(if $(QUICK),--quick,$(if $(filter-out 1,$(DAY_SEED)),,--write docs))

calibrate: deps ## Measures how far the posterior can be believed; keeps it in docs/ (WRITE=1 writes the fitted weights; QUICK=1 keeps nothing)
	$(CARGO) build --locked --release -p netd
	NETD_BIN="$${CARGO_TARGET_DIR:-$(CURDIR)/target}/release/netd" $(CARGO) run --locked --release -p netd-lab --bin calibrate -- \
		$(if $(QUICK),--quick,--docs docs) $(if $(WRITE),--write)

redteam-tools: ## Installs the programs that the red team plays with (Debian); without them its variants are left out
	integration/tools.sh

redteam: deps redteam-tools ## Plays reverse shells and their harmless look-alikes for real: what is found, how fast, what is cut (root)
	$(CARGO) build --locked --release -p netd
	$(CARGO) build --locked --release -p netd-lab --bin redteam
	$(SUDO) env NETD_BIN="$${CARGO_TARGET_DIR:-$(CURDIR)/target}/release/netd" \
		"$${CARGO_TARGET_DIR:-$(CURDIR)/target}/release/redteam" all $(REDTEAM)

attribution: deps ## Ten thousand short connections, an exec flood and a restart: whether each flow names its process (root)
	$(CARGO) build --locked --release -p netd
	$(CARGO) build --locked --release -p netd-lab --bin redteam
	$(SUDO) env NETD_BIN="$${CARGO_TARGET_DIR:-$(CURDIR)/target}/release/netd" \
		"$${CARGO_TARGET_DIR:-$(CURDIR)/target}/release/redteam" attribution $(REDTEAM)

torture: deps ## Does faults to netd on purpose and prints row, measured, goal (root; TORTURE="--short --only T01,T20")
	$(CARGO) build --locked --release -p netd
	$(CARGO) build --locked --release -p netd-lab --bin torture
	$(SUDO) env NETD_BIN="$${CARGO_TARGET_DIR:-$(CURDIR)/target}/release/netd" \
		"$${CARGO_TARGET_DIR:-$(CURDIR)/target}/release/torture" $(TORTURE)

fuzz: deps ## Fuzzes every parser that sees the network, FUZZ_SECONDS (600) each; what crashes one becomes a test
	@command -v c++ >/dev/null || $(SUDO) apt-get install -y -q g++
	fuzz/run.sh $(or $(FUZZ_SECONDS),600)

fuzz-short: ## The same for three seconds each
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=3

api-tools: ## Installs the programs of others that are held against the API, into target/api-tools (needs PyPI)
	@test -x target/api-tools/bin/st || { rm -rf target/api-tools; python3 -m venv target/api-tools && target/api-tools/bin/pip install -q -r integration/api/requirements.txt; }

api-fuzz: api-tools ## Fuzzes the API by its schema, generates a client, reads it with a CrowdSec bouncer's (EXAMPLES=100)
	NETD_API_TOOLS="$(CURDIR)/target/api-tools" NETD_API_EXAMPLES=$(or $(EXAMPLES),100) \
		$(CARGO) test --locked -p netd --lib api::tests::tools -- --nocapture

openapi: ## Writes docs/openapi.json, the API's document, anew
	NETD_WRITE_OPENAPI=1 $(CARGO) test --locked -p netd --lib api::tests::documented::the_committed

ebpf: ## Builds netd-ebpf/netd.bpf.o from source, with its provenance
	netd-ebpf/build.sh

ebpf-check: ## Builds the object again and compares it with the committed one
	netd-ebpf/build.sh --check

ebpf-tools: ## Installs what `make ebpf` needs (Debian)
	netd-ebpf/tools.sh

fmt: ## Formats the sources
	$(CARGO) fmt --all
	cd netd-ebpf && rustfmt --edition 2024 src/main.rs src/bin/limits.rs

deps:
	@missing=(); command -v cc >/dev/null || missing+=(gcc libc6-dev); command -v ip >/dev/null || missing+=(iproute2); \
	if [ $${#missing[@]} -gt 0 ]; then \
		echo "installing $${missing[*]}"; $(SUDO) apt-get update -q && $(SUDO) apt-get install -y -q $${missing[*]}; fi
	@command -v $(CARGO) >/dev/null || { echo 'Rust is missing: https://rustup.rs, or your distribution (1.95 or later)'; exit 1; }

install-deny:
	@command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked

clean:
	$(CARGO) clean
	rm -rf netd-ebpf/target fuzz/target
