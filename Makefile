# `make` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build demo test bench campaign fuzz lint book install deb clean

help: ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

build: ## install what the build needs, and build target/release/pmirror
	@tests/install.sh build
	cargo build --release

demo: build ## mirror a small tree with four ranks, and prove it
	@tests/demo.sh

# The cluster is taken down whatever the tests say, and their exit code is kept.
test: ## lint, build, and run all tests on a Slurm cluster of four nodes on this machine
	@tests/install.sh build test
	@$(MAKE) --no-print-directory lint
	cargo build --release
	@trap 'tests/cluster/cluster.sh down >/dev/null' EXIT; \
	tests/cluster/cluster.sh up; \
	echo 'cargo test --release'; \
	cargo test --release

bench: build ## measure beside other tools, for an hour or two: benchmarks/README.md
	@tests/install.sh bench
	cargo build --release --example floor --example faultfs
	python3 benchmarks/bench.py

campaign: ## run the long tests, those marked #[ignore]
	@tests/install.sh build test campaign
	cargo test --release -- --ignored

fuzz: ## run each decoder's fuzz target for a minute, FUZZ_SECONDS of it: docs/internals/fuzzing.md
	@cargo +nightly fuzz --version >/dev/null || { echo 'needs a nightly toolchain and cargo-fuzz: rustup toolchain install nightly; cargo install cargo-fuzz' >&2; exit 1; }
	@for target in $$(cargo +nightly fuzz list); do \
	    echo "cargo fuzz run $$target"; \
	    mkdir -p fuzz/found/$$target; \
	    cargo +nightly fuzz run -s none $$target fuzz/found/$$target fuzz/corpus/$$target -- \
	        -max_total_time=$${FUZZ_SECONDS:-60} -max_len=4096 -timeout=60 -rss_limit_mb=1024 2>&1 | tail -n 3; \
	done

lint: ## check format, lints and documentation
	cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

book: ## the pages of docs/ as a book: target/book/index.html
	@tests/install.sh book
	@PATH="$${CARGO_INSTALL_ROOT:-$${CARGO_HOME:-$$HOME/.cargo}}/bin:$$PATH" docs/book.sh

PREFIX ?= /usr/local

install: ## install what `make build` has built, with its pages: PREFIX=/usr/local
	@packaging/install.sh $(PREFIX)

deb: build ## a Debian package: target/debian/
	@tests/install.sh deb
	packaging/install.sh --generate target/package
	PATH="$${CARGO_INSTALL_ROOT:-$${CARGO_HOME:-$$HOME/.cargo}}/bin:$$PATH" cargo deb --no-build --locked

clean: ## remove what was built
	cargo clean
