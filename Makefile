# make demo    a whole backup server and client, made, attacked, filled and pruned before your eyes (root)
# make test    every test, the real btrfs, sshd and rsync among them (root); ONLY=name runs those that match
# make fuzz    every parser of outside bytes, 20 seconds each (more: fuzz/run)
# make soak    the same with many more cases, and the long tests
# make bench   what byteback costs beside bare rsync (root)
# make planning  what the plan of a pruning costs; make bench measures it too
# make bench-prune  the pruner beside the same deletions by hand (root)
# make bench-find  what finding files costs beside find(1) (root)
# make lint    format, clippy, man pages
# make install DESTDIR= PREFIX=/usr/local

PREFIX ?= /usr/local
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin

CARGO := cargo
ONLY ?=
# cargo hands each test program of this target to the sandbox.
SANDBOXED := --config "target.'cfg(unix)'.runner='$(CURDIR)/tests/sandbox'"
ROOT = @[ "$$(id -u)" = 0 ] || { echo "make $@ needs root (it mounts, makes users, starts an sshd): sudo make $@" >&2; exit 2; }

.PHONY: build demo test fuzz soak bench bench-find bench-prune planning lint install tools

build: tools
	$(CARGO) build --locked --release

tools:
	@tests/install-tools

demo:
	$(ROOT)
	@tests/install-tools
	@demo/run

test:
	$(ROOT)
	@tests/install-tools
	$(CARGO) test --locked --lib --test cli --test gate --test layers --test patterns -- $(ONLY)
	$(CARGO) test --locked --doc -- $(ONLY)
	tests/sandbox-check
	@tests/rsync-versions target/rsync
	$(CARGO) test --locked $(SANDBOXED) --test e2e -- --test-threads=2 $(ONLY)

fuzz: tools
	fuzz/run all

soak:
	$(ROOT)
	@tests/install-tools
	@tests/rsync-versions target/rsync
	PROPTEST_CASES=20000 $(CARGO) test --locked --release --lib -- $(ONLY)
	$(CARGO) test --locked --release $(SANDBOXED) --test e2e -- --test-threads=2 --include-ignored $(ONLY)

bench:
	$(ROOT)
	@tests/install-tools
	@$(CARGO) build --locked --release --bins --example store
	@tests/sandbox benches/run
	@tests/sandbox benches/store
	@$(MAKE) --no-print-directory planning

bench-prune:
	$(ROOT)
	@tests/install-tools
	@$(CARGO) build --locked --release
	@tests/sandbox benches/prune

planning: tools
	@$(CARGO) run --locked --release --quiet --example planning

bench-find:
	$(ROOT)
	@tests/install-tools
	@$(CARGO) build --locked --release
	@tests/sandbox benches/find

lint: tools
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --locked --manifest-path fuzz/Cargo.toml -- -D warnings
	mandoc -T lint -W warning man/*.[1-8]

install: build
	install -d "$(DESTDIR)$(PREFIX)/bin"
	for program in bin/*.rs; do \
	  install -m 755 "target/release/$$(basename "$$program" .rs)" "$(DESTDIR)$(PREFIX)/bin/"; done
	for program in bin/*.rs; do name=$$(basename "$$program" .rs); \
	  for place in bash:bash-completion/completions/$$name zsh:zsh/site-functions/_$$name fish:fish/vendor_completions.d/$$name.fish; do \
	    "target/release/$$name" --completion "$${place%%:*}" | \
	      install -D -m 644 /dev/stdin "$(DESTDIR)$(PREFIX)/share/$${place#*:}"; done; done
	for page in man/*.[1-8]; do \
	  install -D -m 644 "$$page" "$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}"; done
