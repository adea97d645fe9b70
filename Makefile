# make test   all that CI does, on a Debian machine with Go
# make fuzz   each fuzz target for FUZZTIME
# make fuzz-short  each for two seconds, as make test does
# make bogo   BoringSSL's tests, if HANDOFF_BOGO_RUNNER says where their runner is, and
#             the RFCs' sentences, if HANDOFF_RFC_TEXTS says where their texts are
# make lint   golangci-lint with .golangci.yml
# make cover  statement coverage of the core's packages
# make bench  measures this stack beside crypto/tls, OpenSSL and rustls, and writes bench/RESULTS.*
# make bench-kernel  measures kernel TLS in kernels that it boots, and writes bench/kernelmode/RESULTS.md
# make bench-gate  fails if something has become slower, or allocates more
# make interop  connections with other people's programs, which it writes a table of
# make lab    the tests of kernel TLS in Linux 7.2, 6.12 and 6.1, which it boots
# make lab-qemu  some of them in Debian's own kernel, in QEMU

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := test
.NOTPARALLEL:

STATICCHECK  := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK  := golang.org/x/vuln/cmd/govulncheck@v1.8.0
GOLANGCILINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME     ?= 60s

MODULES := $(shell find . -name go.mod -not -path '*/testdata/*' -exec dirname {} \; | sort)

# Commands that tests start, and the Debian packages that have them. The race
# detector needs a C compiler, and OpenSSL's program in bench, which needs a header
# as well: what has a slash is a file. Nothing else does.
LIBSSL_TOOLS := gcc:gcc gcc:libc6-dev /usr/include/openssl/ssl.h:libssl-dev
TOOLS := $(LIBSSL_TOOLS) openssl:openssl curl:curl nginx:nginx-light gnutls-cli:gnutls-bin redis-server:redis-server etcd:etcd-server node:nodejs

# Where the tests of kernel TLS are, and which they are. In QEMU all takes ten
# times as long, so there are fewer.
LAB_PACKAGES ?= ./kernel . ./https ./conformance/openssl ./conformance/faults ./cmd/handoff ./interop/lab ./bench/kernelmode
LAB_RUN      ?= ^TestKernel
# With the race detector only what needs a real kernel for it: the models do the rest.
LAB_RACE_PACKAGES ?= ./kernel .
LAB_RACE_RUN      ?= ^TestKernel(Scenarios|Suites|KeyUpdate|Deadlines|CloseUnblocks|Tampered|Records)$$
LAB_QEMU_PACKAGES ?= ./kernel . ./interop/lab
LAB_QEMU_RUN ?= ^TestKernel(Scenarios|Splice.*|Conf|Probe|TLS|Suites|Moves|Copy|KeyUpdate|Tampered|Records|Deadlines|Close|Detach|NoAllocations)$$
LAB_TIMEOUT  ?= 10m

export PATH := $(PATH):/usr/sbin:/sbin

# each runs a command in the directory of every module.
each = for m in $(MODULES); do echo "== $$m: $(strip $(1))"; (cd $$m && $(1)); done

# with_tests returns those of some packages that have tests.
with_tests = $(foreach p,$(1),$(if $(wildcard $(p)/*_test.go),$(p)))

.PHONY: test tools gofmt vet staticcheck govulncheck allocs faults race fuzz fuzz-short lint cover interop lab lab-qemu bogo bench bench-gate bench-kernel

test: tools gofmt vet staticcheck govulncheck allocs faults bench-gate race fuzz-short bogo lab

tools:
	@missing=; \
	for t in $(TOOLS); do command -v $${t%%:*} >/dev/null || [[ $$t = /* && -e $${t%%:*} ]] || missing+=" $${t#*:}"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	echo "== installing$$missing"; \
	sudo=; if [ "$$(id -u)" != 0 ]; then sudo=sudo; fi; \
	$$sudo apt-get update -q; \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing

gofmt:
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi

vet:
	@$(call each, GOOS=linux go vet ./...)
	@$(call each, GOOS=freebsd CGO_ENABLED=0 go vet ./...)
	@$(call each, GOOS=darwin CGO_ENABLED=0 go vet ./...)
	@echo "== .: GOOS=windows go vet"; GOOS=windows CGO_ENABLED=0 go vet . ./https ./kernel/...

staticcheck:
	@$(call each, go run $(STATICCHECK) ./...)

# A database that cannot be reached says nothing about the code, so it is no
# failure; what the database says is.
govulncheck:
	@for m in $(MODULES); do \
		echo "== $$m: govulncheck"; \
		out=$$(cd $$m && go run $(GOVULNCHECK) ./... 2>&1) && { echo "$$out"; continue; }; \
		echo "$$out"; \
		grep -q '^govulncheck: fetching vulnerabilities:' <<<"$$out" || exit 1; \
		echo "WARNING: $$m IS NOT CHECKED FOR KNOWN VULNERABILITIES: the database cannot be reached"; \
	done

# The race detector allocates on its own account.
allocs:
	@$(call each, go test -run 'Alloc' ./...)

# Every byte of a connection; with the race detector there is time for one in many.
faults:
	@go test ./conformance/faults

race:
	@$(call each, go test -race ./...)

# go test may fail with "context deadline exceeded" when the time is over, which
# is no finding: those name an input.
fuzz:
	@bin=$$(mktemp -d); trap 'rm -rf $$bin' EXIT; cache=$$(go env GOCACHE)/fuzz; \
	for m in $(MODULES); do cd $(CURDIR)/$$m; for d in $$(go list -f '{{.Dir}}' ./...); do \
		targets=$$(cat $$d/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9]*\).*/\1/p' || true); \
		if [ -z "$$targets" ]; then continue; fi; \
		go test -c -fuzz=Fuzz -o $$bin/test $$d; cd $$d; \
		for f in $$targets; do \
			if [[ -n "$(FUZZSKIP)" && $$f == $(FUZZSKIP)* ]]; then continue; fi; \
			echo "== $${d#$(CURDIR)/} $$f"; \
			$$bin/test -test.run '^$$' -test.fuzz "^$$f\$$" -test.fuzztime $(FUZZTIME) -test.fuzzminimizetime 2s -test.fuzzcachedir $$cache$$d 2>&1 | tee $$bin/log || \
				{ grep -q 'context deadline exceeded' $$bin/log && ! grep -q 'Failing input' $$bin/log; } || exit 1; \
		done; cd $(CURDIR)/$$m; \
	done; done

# What those beside crypto/tls find is a difference to judge, and must not stop a
# build by chance: they run in make fuzz, and their seeds in every test.
fuzz-short: FUZZTIME = 2s
fuzz-short: FUZZSKIP = FuzzStd
fuzz-short: fuzz

# The runner is no part of this repository: conformance/bogo/doc.go says how to
# build it. The results that are committed are checked by race.
bogo:
	@if [ -n "$${HANDOFF_BOGO_RUNNER:-}" ]; then go test -count=1 -run TestBoGo ./conformance/bogo; \
	else echo "WARNING: BORINGSSL'S TESTS ARE NOT RUN: HANDOFF_BOGO_RUNNER does not say where their runner is (see conformance/bogo/doc.go)"; fi
	@if [ -n "$${HANDOFF_RFC_TEXTS:-}" ]; then go test -count=1 -run TestComplete ./conformance/requirements; \
	else echo "WARNING: THE ROWS OF conformance/requirements ARE NOT COMPARED WITH THE RFCS: HANDOFF_RFC_TEXTS does not say where their texts are"; fi

# About ten minutes. For rustls it takes Debian 12's cargo, librust-rustls-dev and
# librust-rustls-pemfile-dev as well, which are not installed here. BENCHFLAGS may
# have -cases REGEXP, -pairs N, -time D, and -openssl DIRECTORY for a newer OpenSSL.
bench: TOOLS := $(LIBSSL_TOOLS)
bench: tools
	@cd bench && go run ./cmd/measure -o . $(BENCHFLAGS)

# Ratios to crypto/tls in the same run, with a margin, and exact counts: a machine
# that does other work may do this too.
bench-gate:
	@cd bench && go test -count=1 -run '^TestGate' .

lint:
	@$(call each, go run $(GOLANGCILINT) run --config $(CURDIR)/.golangci.yml ./...)

cover:
	@go test -coverprofile=coverage.out ./...
	@go tool cover -func=coverage.out | tail -n 1

interop: tools
	@HANDOFF_INTEROP_UPDATE=1 go run ./interop/lab -kernel 7.2 -timeout 20m -tests '^TestKernelMatrix$$' ./conformance/matrix
	@HANDOFF_INTEROP_UPDATE=1 go test -count=1 ./conformance/matrix

lab: TOOLS += strace:strace ss:iproute2
lab: tools
	@go run ./interop/lab -kernel 7.2,6.12,6.1 -timeout $(LAB_TIMEOUT) -tests '$(LAB_RUN)' $(call with_tests,$(LAB_PACKAGES))
	@go run ./interop/lab -kernel 7.2 -race -timeout $(LAB_TIMEOUT) -tests '$(LAB_RACE_RUN)' $(call with_tests,$(LAB_RACE_PACKAGES))

lab-qemu: TOOLS := qemu-system-x86_64:qemu-system-x86 depmod:kmod xz:xz-utils
lab-qemu: tools
	@go run ./interop/lab -kernel 7.3 -timeout $(LAB_TIMEOUT) -tests '$(LAB_QEMU_RUN)' $(call with_tests,$(LAB_QEMU_PACKAGES))

# What is counted is the same on every machine; make lab has bounds for it.
bench-kernel: TOOLS := strace:strace qemu-system-x86_64:qemu-system-x86 depmod:kmod xz:xz-utils
bench-kernel: tools
	@go run ./bench/kernelmode -o bench/kernelmode/RESULTS.md
