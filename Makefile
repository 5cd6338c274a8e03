# The front door. Everything real is in meson.build, tools/ and .ci/.
BUILD  ?= build
# What meson setup is given; an existing build directory keeps the options that are not named again.
SETUP_ARGS = $(if $(PREFIX),--prefix=$(PREFIX)) $(MESON_ARGS)
SECONDS_EACH ?= 10

.DEFAULT_GOAL := build
.PHONY: deps deb image build run test test-clients fuzz bench bench-quick bench-memory install clean check-style dashboard release

deps:
	@tools/install-deps build

build: deps
	@tools/configure $(BUILD) $(SETUP_ARGS)
	@ninja -C $(BUILD) installed demo/tls-off-demo

run: build
	@tools/install-deps run
	@tools/run-demo $(BUILD)/tls-off

# The build looks for valgrind, which the constant-time test needs.
test:
	@tools/install-deps build test
	@$(MAKE) --no-print-directory build
	@tools/run-tests $(BUILD)

# Stacks that are too large for make test.
test-clients: build
	@tools/test-clients $(BUILD)

fuzz:
	@tools/install-deps build fuzz
	@tools/run-fuzzers build-fuzz $(SECONDS_EACH)

bench: build
	@tools/install-deps bench
	@ninja -C $(BUILD) bench/bench-load bench/bench-backend bench/route_bench bench/access_bench
	@bench/run --build $(BUILD)
	@bench/front-door --build $(BUILD)

bench-quick: build
	@tools/install-deps bench
	@ninja -C $(BUILD) bench/bench-load bench/bench-backend
	@bench/run --build $(BUILD) --quick

bench-memory: build
	@tools/install-deps bench
	@/usr/bin/python3 bench/idle-memory --binary $(BUILD)/tls-off

install: SETUP_ARGS = --prefix=$(or $(PREFIX),/usr/local) $(MESON_ARGS)
install: build
	@case $$DESTDIR in '' | /*) ;; *) DESTDIR=$$PWD/$$DESTDIR ;; esac; meson install -C $(BUILD) --no-rebuild
	@[ "$$(id -u)" != 0 ] || chown -Rh --reference=. $(BUILD) # with sudo: who owns the tree builds there again

# The Debian package, in dist/.
deb:
	@tools/install-deps build package
	@tools/build-deb

# A container image in the OCI layout, in dist/image.
image: build
	@tools/install-deps image
	@mkdir -p dist
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || stat -c %Y meson.build) tools/build-image $(BUILD)/tls-off dist/image

# A release in dist/release: tarball, sums, SBOM, changes.
release: build
	@tools/install-deps image
	@tools/make-release --binary $(BUILD)/tls-off

# The page of the observer from its sources; needs npm. What it makes is in the tree.
dashboard:
	@tools/check-dashboard --write

check-style:
	@tools/install-deps style
	@tools/check-style

clean:
	rm -rf $(BUILD) build-fuzz build-san
