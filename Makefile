# Ottla: see README.md. `make test` needs Go alone; `make test-clients` also Java 17, Maven, Python 3, Node and kcat.

GO            ?= go
GOLANGCI_LINT ?= $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME      ?= 60s
SECONDS_LIMIT ?= 60
PATIENCE      ?= 25m
# The packages whose tests last longest begin first, so that the others run beside them and not before.
LONG          := ./storage ./server/servertest ./integration/...
SOAK          ?= 1h
SIM_CLUSTERS  ?= 1000
VERSION       ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
SHELL_MODULE  := cmd/ottla/image/shell
COMMIT        ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS       := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

.PHONY: run build release test race test-clients test-cluster test-image lint fuzz sim soak soak-load soak-crash full-disk bench docs

run: ## start a broker on localhost:9092
	$(GO) run ./cmd/ottla

build: ## the static binary, ./ottla
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o ottla ./cmd/ottla

release: ## dist/: binaries for Linux, macOS and Windows, the image for containers, checksums; needs Go alone
	$(GO) run ./cmd/ottla/release -version '$(VERSION)' -out dist

test: ## every test that needs Go alone
	$(GO) test -timeout $(PATIENCE) $(LONG) ./...
	[ "$$(uname -s)" != Linux ] || (cd $(SHELL_MODULE) && $(GO) test ./...)

race: ## the same with the race detector
	$(GO) test -race -timeout $(PATIENCE) $(LONG) ./...
	[ "$$(uname -s)" != Linux ] || (cd $(SHELL_MODULE) && $(GO) test -race ./...)

test-clients: build ## stock tools and clients of other languages against Ottla and Apache Kafka
	OTTLA=$(CURDIR)/ottla $(MAKE) -C integration clients

test-cluster: build ## three processes in network namespaces that are killed, paused and cut off, with a slow disk, and clients of four languages; needs root on Linux, strace, Java 17, Maven and Python 3
	OTTLA=$(CURDIR)/ottla OTTLA_CLUSTER_PAUSE=1m $(GO) test -count=1 -tags netns -timeout 30m -v ./integration/cluster
	cd integration/clients && OTTLA=$(CURDIR)/ottla $(GO) test -count=1 -tags netns -timeout 30m -run TestClientsOfACutCluster -v .

test-image: build ## the start scripts of test modules in the unpacked image; needs root on Linux
	OTTLA=$(CURDIR)/ottla $(GO) test -count=1 -tags chroot ./integration/image

lint:
	$(GOLANGCI_LINT) run ./...
	$(GOLANGCI_LINT) run --build-tags synctests,netns ./integration/sim ./integration/cluster
	$(GOLANGCI_LINT) run --build-tags chroot ./integration/image
	cd $(SHELL_MODULE) && $(GOLANGCI_LINT) run --config $(CURDIR)/.golangci.yml ./...
	$(MAKE) -C integration lint GOLANGCI_LINT='$(GOLANGCI_LINT)'

fuzz: ## every fuzz target for FUZZTIME each
	GO=$(GO) FUZZTIME=$(FUZZTIME) sh integration/fuzz.sh

sim: ## thousands of simulated clusters, quorums, groups of consumers and transactions, whose network, disks, nodes and members fail
	OTTLA_SIM_SEEDS=$(SIM_CLUSTERS) OTTLA_SIM_CHAOS=2m $(GO) test -tags synctests ./integration/sim -timeout 12h
	OTTLA_SIM_SEEDS=5000 $(GO) test ./coordinator/group ./coordinator/txn -run Simulation -timeout 1h
	OTTLA_SIM_SEEDS=$(SIM_CLUSTERS) $(GO) test ./replication/controller -run 'TestFaults$$' -timeout 2h

soak: soak-load soak-crash

soak-load: build ## an hour (SOAK=5m for less) of producers, consumers and groups at once with random faults; BENCH_OUT=docs/bench writes its chart
	OTTLA=$(CURDIR)/ottla $(MAKE) -C integration soak SOAK='$(SOAK)' BENCH_OUT='$(if $(BENCH_OUT),$(abspath $(BENCH_OUT)))'

soak-crash: build ## two hundred kill -9 cycles under load, and thousands of power losses and damaged files
	OTTLA_CRASH_SEEDS=3000 $(GO) test ./storage -run 'Crash|PowerLoss|Survives|Damage|ShortWrites|Model' -timeout 3h
	OTTLA=$(CURDIR)/ottla OTTLA_CRASH_CYCLES=200 $(GO) test ./integration/crash -run Crash -v -timeout 90m

full-disk: build ## a broker on a volume that fills up; needs root and kcat
	sh integration/full_disk.sh $(CURDIR)/ottla

bench: build ## against Apache Kafka, under 20 minutes; BENCH=name[,name] runs some cases, BENCH_OUT=docs/bench writes the page, charts and bench.json
	OTTLA=$(CURDIR)/ottla $(MAKE) -C integration bench BENCH='$(BENCH)' BENCH_OUT='$(if $(BENCH_OUT),$(abspath $(BENCH_OUT)))'

benchstat: ## micro-benchmarks of the hot paths against the commit before, or BASE
	GO=$(GO) SECONDS_LIMIT=$(SECONDS_LIMIT) sh integration/benchstat.sh

docs: ## regenerate the generated pages
	$(GO) generate ./...
