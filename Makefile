# The only entry: `make help` lists what there is.

GUESTS := .build/guests
RAMWATCH := .build/release/libramwatch.so
FUZZ_RUNS := 100000
SOURCES := $(wildcard Sources Tests FuzzTesting/Sources Package.swift)
SCRIPTS := $(wildcard scripts/*.sh guests/*.sh guests/*/*.sh .ci/run)

# Where the tests find the guests; an absolute path, because tests run in folders of their own.
export VMSYNC_GUESTS := $(CURDIR)/$(GUESTS)

.DEFAULT_GOAL := help
.PHONY: help build guests demo test fuzz sim bench docs check fmt clean

help: ## Say what each target does
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 10

build: deps-build ## Build vmsync and its preload library (release)
	@echo "build: compiling vmsync"
	swift build -c release --product vmsync
	@$(MAKE) --no-print-directory ramwatch

guests: guest-x86_64 guest-aarch64 ## Build the small guests of both architectures

demo: deps-demo build guest-x86_64 ## Show one running VM on several devices (DEMO_ARGS="…")
	.build/release/vmsync demo $(DEMO_ARGS)

# As many tests at once as keep two cores busy. Without a bound all begin at once, and whatever waits for an answer within
# some seconds waits for a turn instead.
export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH := 8

# Testable imports are off, here and in the code, so that the tests run what `make build` has built.
test: deps-test guests ## Build and run all tests (release; TEST_ARGS="--filter …")
	@echo "test: compiling vmsync and its tests"
	swift build -c release --build-tests
	@$(MAKE) --no-print-directory ramwatch
	scripts/with-servers.sh swift test -c release --disable-testable-imports --skip-build $(TEST_ARGS)

# Without a stack for each allocation, which costs a tenth of the time: the one that matters is that of the crash.
fuzz: packfuzz ## Feed mutated packs to all that reads them (FUZZ_RUNS=100000)
	@mkdir -p .build-fuzz/corpus
	ASAN_OPTIONS=quarantine_size_mb=8:malloc_context_size=0 \
		$(PACKFUZZ) -runs=$(FUZZ_RUNS) -max_len=8192 -rss_limit_mb=4096 \
		-artifact_prefix=.build-fuzz/ .build-fuzz/corpus FuzzTesting/Corpus

sim: deps-build ## Try the decisions in simulated worlds (SIM_ARGS="--seeds 1000000")
	@echo "sim: compiling vmsync-sim"
	swift build -c release --product vmsync-sim
	.build/release/vmsync-sim $(SIM_ARGS)

bench: deps-bench build guest-desktop ## Measure beside what people use today, into docs/benchmarks.md (BENCH_ARGS="…")
	.build/release/vmsync bench --write docs $(BENCH_ARGS)

docs: ## Check that what the documents point to is there
	scripts/check-docs.py

check: deps-check docs ## Check format, dependency arrows, documents and shell scripts
	@echo "check: format"
	swift format lint --strict --parallel --recursive $(SOURCES)
	@echo "check: dependency arrows"
	scripts/check-arrows.py
	@echo "check: shell scripts"
	shellcheck -x $(SCRIPTS)

fmt: ## Format the Swift sources
	swift format --in-place --parallel --recursive $(SOURCES)

clean: ## Remove what was built (fetched packages stay)
	swift package clean
	rm -rf $(GUESTS)

# MARK: parts of the above

.PHONY: deps-build deps-demo deps-desktop deps-bench deps-check deps-test ramwatch guest-x86_64 guest-aarch64 guest-desktop

deps-build deps-demo deps-desktop deps-bench deps-check deps-test: deps-%:
	@scripts/install-deps.sh --for $*

guest-x86_64 guest-aarch64: guest-%: deps-demo
	@guests/small/build.sh $* $(GUESTS)/$*

# The desktop of the measured sessions; minutes, not seconds.
guest-desktop: deps-desktop
	@guests/desktop/build.sh $(GUESTS)/desktop

# The fuzzer of packs, in a folder of its own because all is compiled with other flags.
PACKFUZZ := .build-fuzz/build/release/packfuzz
.PHONY: packfuzz fuzz-corpus
# Both sanitizers in one flag, for of two the compiler heeds the last, and SwiftPM puts its own in any order. Its flag is
# for the fuzzer's main.
packfuzz: deps-build
	@echo "fuzz: compiling the fuzzer"
	VMSYNC_FUZZ=1 swift build -c release --scratch-path .build-fuzz/build --product packfuzz \
		--sanitize=fuzzer -Xswiftc -sanitize=address,fuzzer

# The inputs that `make fuzz` found are made as few as reach the same code, and go to those that the tests try.
fuzz-corpus: packfuzz
	$(PACKFUZZ) -merge=1 FuzzTesting/Corpus .build-fuzz/corpus

# The library that is preloaded into QEMU. It goes beside the vmsync command, so after `swift build`, which makes
# the folder.
ramwatch: $(if $(wildcard Sources/ramwatch/ramwatch.c),$(RAMWATCH))

$(RAMWATCH): Sources/ramwatch/ramwatch.c Sources/CVMSyncLinux/include/dirty_tracking.h
	cc -shared -fPIC -O2 -Wall -Werror -o $@ $< -ldl
