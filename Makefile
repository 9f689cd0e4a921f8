# "make check" is all that CI does. Tools are pinned here and run through the
# Go command, so there is nothing to install but Go 1.26.
GO         ?= go
FUZZTIME   ?= 5s
BENCH      ?= .
STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     = $(GO) run mvdan.cc/gofumpt@v0.12.0
TIMEOUT     = -timeout 5m
export CGO_ENABLED ?= 0

.PHONY: build test race lint vet cross fuzz bench golden accuracy generated tidy demo check dist clean

build: ## bin/tpuplan
	$(GO) build -trimpath -o bin/tpuplan ./cmd/tpuplan

test: ## what runs on any machine; oracles that are absent are skipped
	$(GO) test $(TIMEOUT) ./...

race:
	CGO_ENABLED=1 $(GO) test -race $(TIMEOUT) ./...

vet:
	$(GO) vet ./...

lint: ## formatting and staticcheck (staticcheck.conf); internal/layering checks imports
	@out=$$($(GOFUMPT) -l .) && if [ -n "$$out" ]; then echo "not formatted, run gofumpt -w on:"; echo "$$out"; exit 1; fi
	$(STATICCHECK) ./...

cross: ## what must stay portable
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 $(GO) build ./...

fuzz: ## every fuzz target for FUZZTIME
	@tools/fuzz "$(FUZZTIME)"

bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 20m ./...

golden: ## rewrite what tests compare with; look at the difference before committing it
	$(GO) test $(TIMEOUT) ./cmd/tpuplan -run '^TestScripts$$' -update

accuracy: ## rewrite docs/accuracy.md from the public data set; look at the difference before committing it
	TPUPLAN_REQUIRE_DATA=1 $(GO) test $(TIMEOUT) ./internal/accuracy -run '^TestDocument$$' -count=1 -update

generated: ## generated code is what its sources give (needs flatc)
	@tools/generated

tidy:
	$(GO) mod tidy -diff
	$(GO) mod verify

demo: build ## plans two real models in the ignored folder demo
	@tools/demo bin/tpuplan

check: build cross vet lint tidy test race generated fuzz

dist: ## programs for release in dist
	@for target in linux/amd64 linux/arm64 darwin/arm64; do \
		echo "dist/tpuplan-$$(echo $$target | tr / -)"; \
		GOOS=$${target%/*} GOARCH=$${target#*/} CGO_ENABLED=0 $(GO) build -trimpath -ldflags=-s -o "dist/tpuplan-$$(echo $$target | tr / -)" ./cmd/tpuplan || exit 1; \
	done

clean:
	rm -rf bin demo dist
