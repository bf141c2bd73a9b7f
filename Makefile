# distserver. Every target sets up what it needs; `make` alone lists them.
SHELL := /bin/bash
export PREFIX DESTDIR WHEELS ENABLE
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
TOOLS := .tools/.ready
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' distserver/__init__.py)
ARCHES ?= amd64 arm64
ARCH ?= $(shell dpkg --print-architecture)
IMAGES ?= /var/lib/distserver/images
# On all cores, but not what records figures.
PARALLEL := $(if $(filter full,$(TEST_COUNTS)),,-n auto --dist load)
# Where a module sets much up, or makes all of its cells at once: in one process.
BY_FILE := $(if $(PARALLEL),-n auto --dist loadfile)
PYTEST := PATH="$(CURDIR)/.tools/bin:$$PATH" $(PY) -m pytest

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

run: $(READY) ## Serve a registry at 127.0.0.1:5000 with storage in ./run
	$(PY) -m distserver serve --init --listen 127.0.0.1:5000 --storage "$(CURDIR)/run/storage" --state "$(CURDIR)/run/state"

test: $(READY) ## Unit, contract and protocol tests: all that needs nothing but Python
	$(PY) -m pytest $(PARALLEL)

check: lint type test ## What must be clean before a commit

lint: $(READY) ## Style, formatting and import rules
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/lint-imports

type: $(READY) ## Static types, strict
	$(VENV)/bin/mypy

components: $(TOOLS) ## Install the real clients and servers that the suites below drive (apt, Go)

test-clients: $(READY) $(TOOLS) ## Push and pull with skopeo, podman, docker, containerd, crane, helm …; nodes; the page in a browser
	$(PYTEST) tests/clients tests/nodes tests/browser

conformance: $(READY) $(TOOLS) ## The OCI conformance suite, on one process and on three
	PATH="$(CURDIR)/.tools/bin:$$PATH" $(PY) -m tests.conformance.run

test-faults: $(READY) $(TOOLS) ## Kill, cut, fill and damage; TEST_COUNTS=full as in acceptance
	$(PYTEST) $(PARALLEL) tests/faults

# What of the protocol depends on the storage; at full counts all of it runs over a set.
STORED := arrival blobs catalog deletes manifests mounts referrers rows tags uploads
test-replica: $(READY) $(TOOLS) ## The protocol, read-your-writes and kills over a set of three directories
	TEST_REPLICAS=3 $(PYTEST) $(PARALLEL) $(if $(filter full,$(TEST_COUNTS)),tests/protocol,$(STORED:%=tests/protocol/test_%.py)) \
		tests/faults/test_read_your_writes.py tests/faults/test_kill.py
	$(if $(filter full,$(TEST_COUNTS)),TEST_REPLICAS=3 PATH="$(CURDIR)/.tools/bin:$$PATH" $(PY) -m tests.conformance.run)

test-upstreams: $(READY) $(TOOLS) ## Each fault of an upstream, with real clients; TEST_COUNTS=full as in acceptance
	$(PYTEST) $(BY_FILE) tests/upstreams

test-objects: $(READY) $(TOOLS) ## Storages on real object stores: MinIO and SeaweedFS, their faults and outages; TEST_COUNTS=full
	$(PYTEST) $(PARALLEL) tests/objects

test-links: $(READY) $(TOOLS) ## Bad links, one fetch for many, offline, full or lost storage; TEST_COUNTS=full
	$(PYTEST) $(BY_FILE) tests/links

test-drills: $(READY) $(TOOLS) ## What operators do, from end to end: ship, bundles, moving in, boots with systemd, nodes with Syncthing, failover, cold nodes; root, Debian
	$(PYTEST) tests/drills

test-nfs: $(READY) $(TOOLS) ## Kernel NFS between machines in user mode Linux: a set and a single mount, cables pulled, power cut; root, Debian
	bash tests/components/install.sh user-mode-linux openssh-client
	$(PYTEST) tests/nfs

bench: $(READY) $(TOOLS) ## Speed against nginx, distribution v3 and docker-registry, as ratios of one run
	PATH="$(CURDIR)/.tools/bin:$$PATH" $(PY) -m tests.bench.run

image: $(READY) ## Our own image as dist/distserver-VERSION-ARCH.tar, for ARCHES="amd64 arm64"; needs no Docker
	for arch in $(ARCHES); do $(PY) contrib/image/build.py --arch $$arch --output dist/distserver-$(VERSION)-$$arch.tar || exit; done

install-image: ## Put it where k3s, RKE2 or our import unit take it at boot: IMAGES=/var/lib/rancher/k3s/agent/images
	install -D -m 644 -t "$(DESTDIR)$(IMAGES)" dist/distserver-$(VERSION)-$(ARCH).tar

acceptance: $(READY) $(TOOLS) ## Every table at full counts; records figures for docs/promises.md
	TEST_COUNTS=full $(MAKE) test conformance test-clients test-faults test-replica test-upstreams test-objects test-links test-drills test-nfs promises

install-systemd: ## Install as a service: PREFIX, DESTDIR, WHEELS (no network), ENABLE=1; see contrib/systemd
	bash contrib/systemd/install.sh install

uninstall-systemd: ## Remove the service; data and settings stay
	bash contrib/systemd/install.sh uninstall

docs: $(READY) ## Render docs/configuration.md from the code
	$(PY) -m distserver config --markdown > docs/configuration.md

promises: $(READY) ## Render docs/promises.md from the recorded figures
	$(PY) -m tests.promises

$(READY): setup.cfg constraints.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade 'pip>=24' -c constraints.txt
	$(VENV)/bin/pip install --quiet -e '.[dev]' -c constraints.txt
	touch $@

$(TOOLS): tests/components/install.sh tests/components/requirements.txt $(READY)
	bash tests/components/install.sh
	mkdir -p .tools && touch $@

.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' $(firstword $(MAKEFILE_LIST)))
