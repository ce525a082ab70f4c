# tripgrid. `make help` lists the targets.

GO      ?= go
BIN     := bin
ARGS    ?=
# Every package whose tests need nothing but Go.
PKGS    := ./...
# Packages with goroutines that share state: the race detector runs over these.
RACE    := ./cluster ./checkpoint ./checkpoint/filestore ./producer ./producer/remote ./sink ./stream ./worker ./worker/ingest \
	./worker/source ./dashboard ./internal/localkinesis

GOLANGCI_VERSION := v2.15.0

.DEFAULT_GOAL := help
.PHONY: help run build test test-integration test-matrix race lint vet bench fuzz clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

run: build ## run the demo: generated trips, results on a local page (ARGS="--data FILE..." for your own)
	$(BIN)/tripgrid demo $(ARGS)

build: ## build bin/tripgrid
	@mkdir -p $(BIN)
	$(GO) build -ldflags "-s -w" -o $(BIN)/ ./cmd/tripgrid

test: ## unit, scenario and end-to-end tests; needs Go alone
	$(GO) test -timeout 10m $(PKGS)

# What the integration tag adds, and nothing else: the other tests are make test's.
INTEGRATION ?= ./internal/testservers ./cmd/tripgrid ./internal/localkinesis/... ./sink/opensearch ./stream ./cluster/dynamodb \
	./worker/source ./checkpoint/s3store ./producer/remote ./producer/dataset
TAGGED = $$(grep -rlE '^//go:build .*integration' --include='*_test.go' . | xargs sed -nE 's/^func (Test[A-Z][A-Za-z0-9_]*)\(t .*/\1/p' | sort -u | paste -sd '|' -)

test-integration: ## our suites and the whole path against servers that are not ours (needs npm, Java with Maven, Python)
	$(GO) test -count=1 -p 3 -timeout 15m -tags integration -run "^($(TAGGED))$$" $(INTEGRATION)

test-matrix: build ## every data set, profile, partition and shard count against the independent oracle
	$(GO) test -count=1 -timeout 30m -tags matrix -run TestMatrix ./cmd/tripgrid

race: ## the concurrent packages under the race detector
	$(GO) test -race -timeout 15m $(RACE)

vet: ## go vet
	$(GO) vet ./...
	$(GO) vet -tags integration,matrix,rate ./...

lint: ## gofmt, golangci-lint
	@files=$$(gofmt -l .); test -z "$$files" || { echo "gofmt would change these files, run gofmt -w:"; echo "$$files"; exit 1; }
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION) run ./...

bench: ## benchmarks of the hot paths
	$(GO) test -run '^$$' -bench . -benchmem ./trip/... ./stream/... ./worker/... ./sink/... ./internal/localkinesis/...

fuzz: ## every fuzz target for a short while (FUZZTIME=30s)
	@for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzzminimizetime 1x -fuzztime $${FUZZTIME:-30s} $$pkg || exit 1; \
	  done; \
	done

clean: ## remove what was built
	rm -rf $(BIN)
