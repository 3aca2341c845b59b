# What people type. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
# a locale that every machine has: under another, Python may not be able to read the repo's own path
export LC_ALL := C.UTF-8
# services to bring up with Docker; empty means all
SERVICES ?=
# what tests wait for is mostly a timer, so more of them run at once than there are cores
WORKERS ?= -n 3 --dist loadscope --no-loadscope-reorder
# with the gateway on ::1 too, where there is one and nobody has chosen files of their own
COMPOSE_FILES = $(if $(COMPOSE_FILE),,$(shell grep -q '^0\{31\}1 ' /proc/net/if_inet6 2>/dev/null && \
	echo -f compose.yaml $(addprefix -f ,$(wildcard compose.override.yaml)) -f compose.ipv6.yaml))
# packages that only the tests need
TEST_PACKAGES := chromium chromium-driver wrk pgbouncer

# files that compose.yaml mounts by themselves: a container sees a change of them only when it is made anew
export NGINX_CONF_SUM := $(shell cksum < gateway/nginx.conf)
export TEMPO_YAML_SUM := $(shell cksum < observability/tempo/tempo.yaml)
export REDIS_CONF_SUM := $(shell cat redis/redis.conf redis/cluster.sh | cksum)

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- the stack
up: ## Start the whole stack with Docker
	@if docker --version 2>/dev/null | grep -qi podman; then \
		echo "up: docker is Podman here, which is not supported: use Docker Engine, or make native" >&2; exit 2; fi
	docker compose $(COMPOSE_FILES) up -d --build --wait $(SERVICES)
	@for part in "gateway 5000 API" "grafana 3000 Grafana" "prometheus 9090 Prometheus" "desk 8060 inbox"; do \
		set -- $$part; address=$$(docker compose port $$1 $$2 2>/dev/null) && printf '%-11s http://127.0.0.1:%s\n' $$3 $${address##*:}; \
	done; true

native: install ## Start the same stack without Docker (Debian or Ubuntu)
	@$(BIN)/glasshouse up

demo: venv ## First look: start the stack (Docker where there is one, else native), put it under load, say where to look
	@if docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then \
		echo "demo: starting the stack with Docker; the first time, images are fetched and built"; \
		$(MAKE) --no-print-directory up; \
	else echo "demo: starting the stack without Docker"; $(MAKE) --no-print-directory native; fi
	@echo "demo: a minute of load follows; open the dashboards meanwhile"
	@$(BIN)/glasshouse load || \
		echo "demo: some figure missed its level, as on a small or busy machine: the report says which, and by how much"
	@echo "demo: the stack goes on running ('make down' stops it). Where to look ('glasshouse look --open' opens it):"
	@$(BIN)/glasshouse look --offer

down: ## Stop either
	@if [ -x $(BIN)/glasshouse ]; then $(BIN)/glasshouse down; fi
	@if docker info >/dev/null 2>&1; then docker compose --profile '*' down --remove-orphans; fi

clean: down ## Stop either, and remove all it kept
	@if [ -L .stack/data/postgres ]; then rm -rf "$$(readlink .stack/data/postgres)"; fi
	rm -rf .stack runs benchmarks/results
	@if docker info >/dev/null 2>&1; then docker compose --profile '*' down --volumes --remove-orphans; fi

k8s-up: ## Apply deploy/kubernetes/overlays/small (OVERLAY=production for another) to kubectl's cluster, and wait for it
	@deploy/kubernetes/up.sh up $(OVERLAY)

k8s-down: ## Remove it, and what it kept
	@deploy/kubernetes/up.sh down $(OVERLAY)

k8s-digests: venv ## Name every image of overlays/production by its digest (REGISTRY= where our own two are)
	@$(BIN)/python -m lab.manifests.digests

# --- the workbench
load: venv ## The guide's ramp, 5 to 50 requests a second in 60 s (PROFILE=spike for another)
	@$(BIN)/glasshouse load $(PROFILE)

view: venv ## The dashboards in the built-in viewer
	@$(BIN)/glasshouse view

live-check: venv ## Ask the running stack for every query of every panel
	@$(BIN)/glasshouse check

reload: venv ## Apply changed rules and thresholds to the running stack
	@$(BIN)/glasshouse reload

bench: install-dev ## What telemetry costs, and how fast it all is
	@$(BIN)/python -m benchmarks

# --- working on it
dashboards: install-dev ## Build observability/grafana/dashboards from observability/dashboards
	@$(BIN)/python -m observability.dashboards

docs: install-dev ## Build the documentation as a site in .site, links checked
	@$(BIN)/python docs/pictures/architecture.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

rules: venv ## Write alerts/rules, and the index in docs/alerts.md, from alerts/thresholds.yml and alerts/catalog
	@$(BIN)/python -m lab.alerts.rules && $(BIN)/python -m lab.alerts.index

manifests: venv ## Write what deploy/kubernetes has from alerts and observability, where Kustomize cannot take it from there
	@$(BIN)/python -m lab.manifests

lint: install-dev ## Format, lint, types, imports, rules, thresholds, and alerts over the corpus
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache >.venv/imports.log || { cat .venv/imports.log; exit 1; }
	@if command -v promtool >/dev/null; then promtool check rules observability/prometheus/rules/*.yml alerts/rules/*.yml; fi
	$(BIN)/python -m lab.alerts.faults
	@$(BIN)/glasshouse tune --no-history --strict

test: install-dev ## The tests, but for long repetitions; installs what they need on a fresh machine
	@lab/stack/install.sh $(TEST_PACKAGES)
	@lab/stack/kubectl.sh || true
	$(BIN)/python -m pytest $(WORKERS) -m "not long" $(ARGS)

test-long: install-dev ## The long repetitions alone
	@lab/stack/install.sh $(TEST_PACKAGES)
	$(BIN)/python -m pytest $(WORKERS) -m long $(ARGS)

test-all: test test-long ## The tests, and then the long repetitions

dist: install-dev ## The wheel, in dist/: `pipx install dist/*.whl` gives the command `glasshouse`
	@rm -rf dist
	@$(BIN)/pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	@ls dist/*.whl

lock: ## Pin the requirements anew
	$(PYTHON) -m venv .venv && $(BIN)/pip install -q uv
	$(BIN)/uv pip compile -q pyproject.toml --extra dev $(LOCK) -o requirements/dev.txt
	$(BIN)/uv pip compile -q requirements/service.in -c requirements/dev.txt $(LOCK) -o requirements/service.txt
	$(BIN)/uv pip compile -q pyproject.toml -c requirements/dev.txt $(LOCK) -o requirements/lab.txt
LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --prerelease if-necessary-or-explicit

# --- what the others stand on
install: venv
	@lab/stack/install.sh

# says so before pip does, in its way
PYTHON_CHECK = $(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "environment: needs Python \
	3.11 or newer, and $(PYTHON) is %d.%d: name another, as in `make PYTHON=python3.11 $(MAKECMDGOALS)`" % v[:2])'

venv: .venv/lab
.venv/lab: requirements/lab.txt pyproject.toml
	@echo "environment: installing Python packages into .venv (half a minute the first time)"
	@$(PYTHON_CHECK)
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || lab/stack/install.sh
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/lab.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

install-dev: .venv/dev
.venv/dev: requirements/dev.txt pyproject.toml
	@echo "environment: installing Python packages, those of the tests too, into .venv (a minute the first time)"
	@$(PYTHON_CHECK)
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || lab/stack/install.sh
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@ .venv/lab

.PHONY: help up native demo down clean k8s-up k8s-down k8s-digests load view live-check reload bench dashboards docs rules manifests lint test test-long test-all dist lock install venv install-dev
