# "make check" is all that CI does. Tools are pinned here and run through the
# Go command, so there is nothing to install but Go 1.26.
GO         ?= go
FUZZTIME   ?= 3s
BENCH      ?= .
MOST       ?= 64
STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     = $(GO) run mvdan.cc/gofumpt@v0.12.0
TIMEOUT     = -timeout 5m
export CGO_ENABLED ?= 0

# The device path (build tag edgetpu) is cgo: it needs a C compiler and the
# TensorFlow Lite runtime, which make runtime gets.
RUNTIME     = $(CURDIR)/.runtime
STANDIN     = $(CURDIR)/bin/standin
STANDIN_C   = $(wildcard profile/device/standin/*.c)
STANDIN_CC  = gcc -std=gnu11 -O2 -Wall -Wextra -Wshadow -Wconversion -Werror -fPIC -shared -fvisibility=hidden -I$(RUNTIME)/include -pthread
EDGETPU     = CGO_ENABLED=1 CGO_CFLAGS="-g -O2 -I$(RUNTIME)/include" CGO_LDFLAGS="-L$(RUNTIME)/lib -Wl,-rpath,$(RUNTIME)/lib" $(GO)
# Some tests are linked to the stand-in.
STANDIN_GO  = TPUPLAN_STANDIN="$(STANDIN)" CGO_ENABLED=1 CGO_CFLAGS="-g -O2 -I$(RUNTIME)/include -I$(CURDIR)/profile/device/standin" \
	CGO_LDFLAGS="-L$(RUNTIME)/lib -L$(STANDIN) -Wl,-rpath,$(RUNTIME)/lib -Wl,-rpath,$(STANDIN)" $(GO)

.PHONY: build test race lint vet cross fuzz bench tables golden accuracy generated tidy demo check dist clean runtime standin edgetpu edgetpu-dist edgetpu-test edgetpu-tests

build: ## bin/tpuplan
	$(GO) build -trimpath -o bin/tpuplan ./cmd/tpuplan

test: ## what runs on any machine; oracles that are absent are skipped
	$(GO) test $(TIMEOUT) ./...

race: ## what does things side by side
	CGO_ENABLED=1 $(GO) test -race -short $(TIMEOUT) ./compile/run/... ./cost/... ./planner ./plans ./profile/... ./tflite
	CGO_ENABLED=1 $(GO) test -race -short $(TIMEOUT) ./cmd/tpuplan -run '^TestScripts$$/^(optimize|compile|compilers|firm|interrupt|simulate|settle|profile|validate)$$'

vet:
	$(GO) vet ./...

lint: ## formatting and staticcheck (staticcheck.conf); internal/layering checks imports
	@out=$$($(GOFUMPT) -l .) && if [ -n "$$out" ]; then echo "not formatted, run gofumpt -w on:"; echo "$$out"; exit 1; fi
	$(STATICCHECK) ./...

cross: ## what must stay portable
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 $(GO) build ./...

runtime: ## TensorFlow Lite C 2.9 in the ignored folder .runtime
	@tools/runtime

standin: $(STANDIN)/libedgetpu.so.1 $(STANDIN)/libedgetpu-lacking.so.1 ## a libedgetpu that needs no Edge TPU, in bin/standin (docs/standin.md)

$(STANDIN)/libedgetpu.so.1: $(STANDIN_C) $(wildcard profile/device/standin/*.h) | runtime
	@mkdir -p $(STANDIN)
	$(STANDIN_CC) -Wl,-soname,libedgetpu.so.1 -o $@ $(STANDIN_C)
	@ln -sf libedgetpu.so.1 $(STANDIN)/libedgetpu.so

# One that lacks a function, for the tests of the error.
$(STANDIN)/libedgetpu-lacking.so.1: $(STANDIN)/libedgetpu.so.1
	@$(STANDIN_CC) -DSTANDIN_LACKS_CREATE -o $@ $(STANDIN_C)

edgetpu: runtime ## bin/tpuplan-edgetpu, which can measure on a device of this machine
	$(EDGETPU) build -tags edgetpu -trimpath -o bin/tpuplan-edgetpu ./cmd/tpuplan

# Where profile --host finds it: in dist, beside bin/tpuplan. For another processor:
# make edgetpu-dist GOARCH=arm64 CC=aarch64-linux-gnu-gcc
edgetpu-dist: runtime ## bin/dist/linux-ARCH-gnu, a program that measures and is sent to boards of that kind
	@mkdir -p "bin/dist/linux-$$($(GO) env GOARCH)-gnu"
	CGO_ENABLED=1 CGO_CFLAGS="-g -O2 -I$(RUNTIME)/include" CGO_LDFLAGS="-L$(RUNTIME)/lib" \
		$(GO) build -tags edgetpu -trimpath -ldflags=-s -o "bin/dist/linux-$$($(GO) env GOARCH)-gnu/tpuplan-edgetpu" ./cmd/tpuplan
	@cp $(RUNTIME)/lib/libtensorflowlite_c.so "bin/dist/linux-$$($(GO) env GOARCH)-gnu/"

edgetpu-test: ## the device path over the stand-in; needs gcc and npm
	@tools/edgetpu-test $(MAKE) --no-print-directory edgetpu-tests

# Two scripts at a time: they measure, if only the stand-in, and mostly wait.
MEASURING = ./cmd/tpuplan -run '^TestScripts$$/^(profile|validate)'
edgetpu-tests: standin
	$(STANDIN_GO) vet -tags edgetpu ./profile/...
	$(STANDIN_GO) test $(TIMEOUT) -tags edgetpu ./profile/device/... ./profile/remote/...
	$(STANDIN_GO) test $(TIMEOUT) -tags edgetpu -parallel 2 $(MEASURING) || { \
		echo "once more, one at a time: another program may have taken the processor"; \
		$(STANDIN_GO) test $(TIMEOUT) -tags edgetpu -parallel 1 -count 1 $(MEASURING); }

fuzz: ## every fuzz target for FUZZTIME
	@tools/fuzz "$(FUZZTIME)"

bench: ## every benchmark, then the tables
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 20m ./...
	@$(MAKE) --no-print-directory tables

tables: ## rewrite the tables of docs/performance.md up to MOST models; look at the difference before committing it
	TPUPLAN_REQUIRE_DATA=1 $(GO) test -timeout 2h ./internal/performance -run '^TestDocument$$' -count=1 -v -update -most $(MOST)

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

check: build cross vet lint tidy test edgetpu-test race generated fuzz

dist: ## programs for release in dist
	@for target in linux/amd64 linux/arm64 darwin/arm64; do \
		echo "dist/tpuplan-$$(echo $$target | tr / -)"; \
		GOOS=$${target%/*} GOARCH=$${target#*/} CGO_ENABLED=0 $(GO) build -trimpath -ldflags=-s -o "dist/tpuplan-$$(echo $$target | tr / -)" ./cmd/tpuplan || exit 1; \
	done

clean:
	rm -rf bin demo dist .runtime
