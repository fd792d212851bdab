# Shortcuts, each of which can be read and typed by hand. `make` alone lists them.
#
# Their variables: PORT=6380 for run, ARGS for the tests (ARGS='invalidate' runs the tests with that in
# their name) and for the bench (see scripts/bench), CHATCACHE_SERVER=/path/to/valkey-server for any other
# server binary than redis-server.

PORT ?= 6379
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
DENY := $(shell cargo deny --version >/dev/null 2>&1 && echo yes)

.DEFAULT_GOAL := help
.PHONY: help setup build run test lint deny valgrind bench clean top test-top example test-example setup-python bench-chat setup-test dist test-dist

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS='	' read -r name what; do printf '  make %-16s %s\n' "$$name" "$$what"; done

setup: ## install the missing packages on Debian or Ubuntu (a C compiler, libclang, redis-server)
	@scripts/setup

build: setup ## the module, optimised: target/release/libchatcache.so
	cargo build --release --locked

run: build ## start a Redis with the module on PORT (6379), its data under ./run
	@PORT=$(PORT) scripts/run

# The documentation's tests go first: a runner that counts 0 of them must not have the last word.
test: setup setup-test setup-python lint ## lint, then the documentation's, the Python package's, the unit and the integration tests
	cargo test --doc --locked --quiet
	cargo build --locked
	CHATCACHE_MODULE=$(CURDIR)/target/debug/libchatcache.so scripts/test-python --optional
ifeq ($(NEXTEST),yes)
	cargo nextest run --locked $(ARGS)
else
	cargo test --lib --tests --locked $(ARGS)
endif

lint: ## format, clippy with warnings as errors, and cargo-deny where it is installed
	cargo fmt --all --check
	cargo clippy -p chatcache -p testkit --all-targets --locked -- -D warnings
ifeq ($(DENY),yes)
	@scripts/deny
else
	@echo "lint: cargo-deny is not installed, so licences and advisories are not checked ('make deny' does it)"
endif

deny: ## install cargo-deny (some 4 minutes, once), then check licences, sources and advisories
ifneq ($(DENY),yes)
	cargo install cargo-deny --locked
endif
	@scripts/deny

top: ## a terminal view of the server at URL (redis://127.0.0.1:6379)
	cargo run --profile tool --locked --quiet -p chatcache-top -- $(if $(URL),'$(URL)')

# Its own build of some 130 crates: not a part of `make test`.
test-top: build ## lint and test the terminal view
	cargo clippy -p chatcache-top --all-targets --locked -- -D warnings
	CHATCACHE_MODULE=$(CURDIR)/target/release/libchatcache.so \
		cargo test -p chatcache-top --locked --quiet

example: build setup-python ## start examples/chat_service: a Redis on PORT (6379), a service on HTTP_PORT (8000)
	@PORT=$(PORT) scripts/example

.PHONY: test-python
test-python: build setup-python ## check the Python package and run its fast tests (30 seconds; more in test-clients)
	@scripts/test-python $(ARGS)

test-example: build setup-python ## check and test the example services, in Python and in Rust
	@scripts/test-example $(ARGS)

# The Python packages of the documentation's code blocks.
setup-test:
	@scripts/setup python3-redis python3-prometheus-client

setup-python:
	@scripts/setup python3-venv

dist: setup setup-python ## packages for an install without Rust, in target/packages: a tarball, a .deb and a wheel
	@scripts/dist

test-dist: dist ## install each package and use its module, on six servers
	@scripts/test-dist

valgrind: setup ## the integration tests against a server under valgrind (slow)
	@scripts/valgrind $(ARGS)

.PHONY: test-clients test-containers test-matrix
test-clients: build setup-python ## a session and flights through the clients of eight languages, and all tests of the Python package
	@tests/clients/run
	@scripts/test-python --all

test-containers: build ## the integration tests in containers of the official images (some minutes each)
	@scripts/containers $(ARGS)

test-matrix: setup setup-test ## the integration tests on six servers, which it gets itself (some minutes each)
	@scripts/matrix $(ARGS)

.PHONY: test-redis-suite
test-redis-suite: build ## Redis's own tests with and without the module, and what differs (half an hour; ARGS='unit/expire')
	@scripts/redis-suite $(ARGS)

.PHONY: soak
soak: setup ## the tests of faults at length: 20 power cuts, 100 cycles of filling and invalidating, 20 days of traffic
	CHATCACHE_ROUNDS=$${CHATCACHE_ROUNDS:-20} CHATCACHE_CYCLES=$${CHATCACHE_CYCLES:-100} \
		CHATCACHE_DAYS=$${CHATCACHE_DAYS:-20} \
		cargo test --locked --test main -- --nocapture --test-threads 1 faults::power_cut faults::soak

.PHONY: fuzz
fuzz: ## fuzz each target for FUZZ_SECONDS (600), or those in ARGS; needs cargo-fuzz and a nightly toolchain
	@scripts/fuzz $(ARGS)

bench: setup ## measure speed, memory and single flight (some minutes; reports go to target/bench)
	@scripts/bench $(ARGS)

bench-chat: build setup-python ## measure examples/chat_service against no cache and the guide's (15 minutes; target/bench-chat)
	@scripts/bench-chat $(ARGS)

clean: ## remove all build output, and the data under ./run
	cargo clean
	rm -rf run
