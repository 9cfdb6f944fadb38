# make test is what CI runs. It needs root: nodes are network namespaces. The system packages and .venv are made as needed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.DEFAULT_GOAL := help
.NOTPARALLEL:

APT_TEST := aardvark-dns acl apache2 busybox-static ca-certificates chromium cpio curl docker.io e2fsprogs etcd-server fio fonts-liberation gcc git \
  haproxy iproute2 iputils-arping iputils-ping kmod libc6-dev libnftables1 libvirt-clients libvirt-daemon \
  libvirt-daemon-driver-qemu libxml2-utils make mariadb-server monitoring-plugins-basic nftables nginx-light openssl \
  podman postgresql procps prometheus psmisc python3-venv qemu-system-x86 qemu-utils redis-server resource-agents runc \
  samba slapd smbclient snmp snmptrapd systemd util-linux
APT_BENCH := apache2-utils glusterfs-server keepalived tcpdump wrk

PYTHON := .venv/bin/python
MANIFESTS := constraints.txt pyproject.toml $(sort $(wildcard core/pyproject.toml sdk/pyproject.toml plugins/*/*/pyproject.toml))
PACKAGES := $(patsubst %/pyproject.toml,%,$(filter-out pyproject.toml constraints.txt,$(MANIFESTS)))
INSTALLED := build/stamps/$(shell { pwd; cat $(MANIFESTS); } | sha256sum | cut -c1-20)

.PHONY: help test lint repo unit system long demo bench soak starve proof sim docs wheels deb bump constraints apt clean

help: ## this list
	sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

test: $(INSTALLED) ## every gate: what CI runs
	$(PYTHON) tests/repo/gates.py

lint: $(INSTALLED) ## ruff, mypy, import contracts
	$(PYTHON) tests/repo/gates.py lint

repo: $(INSTALLED) ## rules of the repository
	$(PYTHON) tests/repo/gates.py repo

unit: $(INSTALLED) ## tests of core, SDK and plugins
	$(PYTHON) tests/repo/gates.py unit

system: $(INSTALLED) ## real nodes in network namespaces
	$(PYTHON) tests/repo/gates.py system

long: $(INSTALLED) ## more seeds, more broken engines, more programs than CI has time for
	$(PYTHON) tests/repo/gates.py long

demo: $(INSTALLED) ## Apache on three nodes, then on one of two, then PostgreSQL with replicated data, and crashes
	PYTHONPATH=tests $(PYTHON) tests/demo/apache_farm.py
	PYTHONPATH=tests $(PYTHON) tests/demo/apache_mirror.py
	PYTHONPATH=tests $(PYTHON) tests/demo/postgresql_mirror.py

bench: APT_TEST += $(APT_BENCH)
bench: $(INSTALLED) ## fail-over, load balancing, replication beside other software, and more, on one page: two hours
	PYTHONPATH=tests:tests/repo $(PYTHON) tests/bench/farm.py
	PYTHONPATH=tests:tests/repo $(PYTHON) tests/bench/failover.py
	PYTHONPATH=tests:tests/repo $(PYTHON) tests/bench/rfs.py
	PYTHONPATH=tests:tests/repo $(PYTHON) tests/bench/checkers.py
	PYTHONPATH=tests:tests/repo $(PYTHON) tests/bench/scale.py
	PYTHONPATH=tests:tests/repo $(PYTHON) tests/bench/console.py
	PYTHONPATH=tests:tests/repo $(PYTHON) tests/bench/kvm.py
	PYTHONPATH=tests:tests/repo $(PYTHON) tests/bench/apps.py
	PYTHONPATH=tests:tests/repo $(PYTHON) tests/bench/page.py

soak: HOURS ?= 1
soak: SEED ?= $(shell date +%s)
soak: $(INSTALLED) ## make soak HOURS=1 SEED=7: random faults on real nodes, with a checker of what clients were told
	PYTHONPATH=tests:tests/repo $(PYTHON) tests/bench/soak.py --hours $(HOURS) --seed $(SEED)

starve: MINUTES ?= 10
starve: $(INSTALLED) ## make starve MINUTES=10: a starved machine, on which nothing may fail over
	PYTHONPATH=tests:tests/repo $(PYTHON) tests/bench/starved.py --minutes $(MINUTES)

proof: $(INSTALLED) ## every packet and connection of a farm, by the hundred thousand, an hour
	PYTHONPATH=tests:tests/repo $(PYTHON) tests/bench/proof.py

sim: HOURS ?= 1
sim: $(INSTALLED) ## make sim HOURS=1: seeded histories of whole clusters
	.venv/bin/safekit-sim --seed-start "$$(date +%s)" --hours $(HOURS)

docs: $(INSTALLED) ## the documentation, into build/site
	$(PYTHON) tests/repo/gates.py docs

wheels: $(INSTALLED) ## a wheel of every package, into dist
	rm -rf dist
	for package in $(PACKAGES); do $(PYTHON) -m build --wheel --no-isolation --outdir dist $$package >/dev/null; done
	ls dist

deb: wheels ## a Debian package of the whole, for the python3 of this machine, into dist
	mkdir -p build/others
	$(PYTHON) -m pip download -qq --disable-pip-version-check --require-hashes --no-deps -r constraints.txt --dest build/others
	$(PYTHON) packaging/debian/build.py --wheels dist --wheels build/others --out dist

bump: $(INSTALLED) ## make bump VERSION=1.2.3: one version for all packages
	$(PYTHON) tests/repo/bump.py "$(VERSION)"

constraints: .venv/made ## pin the newest versions of all that is not ours
	mkdir -p build
	$(PYTHON) tests/repo/requirements.py > build/requirements.in
	$(PYTHON) -c 'import piptools' 2>/dev/null || $(PYTHON) -m pip install --quiet pip-tools
	$(PYTHON) -m piptools compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
	  --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  --output-file build/constraints.txt build/requirements.in
	grep -vE '^(-|#|$$)' build/constraints.txt > constraints.txt

clean: ## what was built, and caches
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find core sdk plugins tests docs -name __pycache__ -prune -exec rm -r {} +

# Services that Debian starts when it installs them are not started: RUNLEVEL=1.
apt:
	installed=$$(dpkg-query -Wf '$${Package} $${Status}\n' $(APT_TEST) 2>/dev/null | sed -n 's/ install ok installed$$//p') || true
	missing=$$(comm -23 <(printf '%s\n' $(APT_TEST) | sort) <(sort <<<"$$installed"))
	[ -z "$$missing" ] && exit
	[ "$$(id -u)" = 0 ] || { echo "missing:" $$missing "- run this as root" >&2; exit 1; }
	echo "installing" $$missing
	export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 LOCK=DPkg::Lock::Timeout=300
	mkdir -p build
	{ apt-get -qq -o $$LOCK update && apt-get -qq -y -o $$LOCK install --no-install-recommends $$missing; } >build/apt.log 2>&1 </dev/null \
	  || { cat build/apt.log; exit 1; }

# A .venv whose Python is gone, or that was copied from elsewhere, is made anew.
ifneq ($(shell .venv/bin/python -c '' 2>/dev/null && echo works),works)
.PHONY: .venv/made
endif

.venv/made: | apt
	$$(command -v python3.11 || command -v python3) -m venv --clear .venv
	touch $@

$(INSTALLED): .venv/made
	mkdir -p build/stamps
	echo "installing the pinned libraries and $(words $(PACKAGES)) packages into .venv"
	$(PYTHON) -m pip install -qq --disable-pip-version-check --require-hashes --no-deps -r constraints.txt
	$(PYTHON) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation $(addprefix -e ./,$(PACKAGES))
	rm -f build/stamps/*
	touch $@
