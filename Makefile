# Commands for users and developers; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
# the Python of .venv; empty means the first one that is new enough
PYTHON ?=
BIN := .venv/bin
# a locale that every machine has; with a missing one Python may fail to decode the repository's path
export LC_ALL := C.UTF-8
# services to start with Docker; empty means all
SERVICES ?=
# tests mostly wait for timers, so more of them run in parallel than there are cores
WORKERS ?= -n 4 --dist loadscope --no-loadscope-reorder
# publishes the gateway on ::1 too, if the machine has it and COMPOSE_FILE is not set
COMPOSE_FILES = $(if $(COMPOSE_FILE),,$(shell grep -q '^0\{31\}1 ' /proc/net/if_inet6 2>/dev/null && \
	echo -f compose.yaml $(addprefix -f ,$(wildcard compose.override.yaml)) -f compose.ipv6.yaml))
IS_PODMAN = docker --version 2>/dev/null | grep -qi podman
HAS_DOCKER = ! $(IS_PODMAN) && docker info >/dev/null 2>&1
# packages that only the tests need; xz-utils and less for commands of the documentation
TEST_PACKAGES := chromium chromium-driver wrk pgbouncer xz-utils less

# checksums of files that compose.yaml mounts as single files: a container sees a change only after it is recreated
export NGINX_CONF_SUM := $(shell cksum < gateway/nginx.conf)
export TEMPO_YAML_SUM := $(shell cksum < observability/tempo/tempo.yaml)
export LOKI_YAML_SUM := $(shell cksum < observability/loki/loki.yaml)
export PROCESSES_YML_SUM := $(shell cksum < observability/exporters/processes.yml)
export REDIS_CONF_SUM := $(shell cksum < redis/redis.conf)
export CLUSTER_SH_SUM := $(shell cksum < redis/cluster.sh)

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- the stack
up: ## Start the whole stack with Docker
	@if $(IS_PODMAN); then \
		echo "up: docker is Podman here, which is not supported: use Docker Engine, or make native" >&2; exit 2; fi
	@docker compose version --short | grep -Eq '^v?(2\.[1-9][0-9]|[3-9]|[1-9][0-9])\.' || { \
		echo "up: needs Docker Compose 2.10 or newer (docker compose version): update it, or make native" >&2; exit 2; }
	@echo docker compose $(COMPOSE_FILES) up -d --build --wait $(SERVICES)
	@docker compose $(COMPOSE_FILES) up -d --build --wait $(SERVICES) || { \
		! docker compose logs --tail 50 todo 2>/dev/null | grep -q 'password authentication failed' || \
		echo "up: the database was created with another POSTGRES_PASSWORD: see README.md, Troubleshooting" >&2; exit 1; }
	@for part in "gateway 5000 API" "grafana 3000 Grafana" "prometheus 9090 Prometheus" "desk 8060 inbox"; do \
		set -- $$part; address=$$(docker compose port $$1 $$2 2>/dev/null) && printf '%-11s http://127.0.0.1:%s\n' $$3 $${address##*:}; \
	done; true

native: install ## Start the same stack without Docker (Debian or Ubuntu)
	@$(BIN)/glasshouse up

demo: ## First look: start the stack (with Docker if available, else native), put it under load, print the addresses
	@if $(HAS_DOCKER) && docker compose version >/dev/null 2>&1; then \
		echo "demo: starting the stack with Docker; the first time, images are fetched and built"; \
		$(MAKE) -s venv && $(MAKE) --no-print-directory up; \
	else echo "demo: starting the stack without Docker"; $(MAKE) --no-print-directory native; fi
	@echo "demo: running a minute of load; open the dashboards meanwhile"
	@$(BIN)/glasshouse load || if [ $$? = 1 ]; then \
		echo "demo: the load test missed a check, which can happen on a small or busy machine: see above, and the report"; \
		else echo "demo: the load test could not run: see above"; fi
	@echo "demo: the stack is still running ('make down' stops it). Addresses ('glasshouse look --open' opens the dashboards):"
	@$(BIN)/glasshouse look --offer

down: ## Stop the stack, native or Docker
	@if [ -x $(BIN)/glasshouse ]; then $(BIN)/glasshouse down; fi
	@if $(HAS_DOCKER); then docker compose --profile '*' down --remove-orphans; fi

clean: down ## Stop the stack, and delete its data
	@if [ -L .stack/data/postgres ]; then rm -rf "$$(readlink .stack/data/postgres)"; fi
	rm -rf .stack runs benchmarks/results
	@if $(HAS_DOCKER); then docker compose --profile '*' down --volumes --remove-orphans; fi

k8s-up: ## Apply deploy/kubernetes/overlays/small (OVERLAY=production for another) to kubectl's cluster, and wait for it
	@deploy/kubernetes/up.sh up $(OVERLAY)

k8s-down: ## Delete the namespace and its data
	@deploy/kubernetes/up.sh down $(OVERLAY)

k8s-digests: venv ## Set the digest of every image of overlays/production (REGISTRY= is the registry of our own images)
	@$(BIN)/python -m lab.manifests.digests

# --- the workbench
load: venv ## Run a load test: the guide's ramp, 5 to 50 requests per second in 60 s (PROFILE=spike for another)
	@$(BIN)/glasshouse load $(PROFILE)

view: venv ## Show the dashboards in the built-in viewer
	@$(BIN)/glasshouse view

live-check: venv ## Run every query of every panel against the running stack
	@$(BIN)/glasshouse check

reload: venv ## Apply changed rules and thresholds to the running stack
	@$(BIN)/glasshouse reload

bench: install-dev ## Measure the cost of telemetry and the performance of the service
	@$(BIN)/python -m benchmarks

# --- working on it
dashboards: install-dev ## Build observability/grafana/dashboards from observability/dashboards
	@$(BIN)/python -m observability.dashboards

docs: install-dev ## Build the documentation as a site in .site, links checked
	@$(BIN)/python docs/pictures/architecture.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

rules: venv ## Generate alerts/rules and the index in docs/alerts.md from alerts/thresholds.yml and alerts/catalog
	@$(BIN)/python -m lab.alerts.rules && $(BIN)/python -m lab.alerts.index

manifests: venv ## Generate the files of deploy/kubernetes that Kustomize cannot derive from alerts and observability
	@$(BIN)/python -m lab.manifests

lint: install-dev ## Format, lint, types, imports, rules, thresholds, and alerts over the corpus
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache >.venv/imports.log || { cat .venv/imports.log; exit 1; }
	@if command -v promtool >/dev/null; then promtool check rules observability/prometheus/rules/*.yml alerts/rules/*.yml; fi
	$(BIN)/python -m lab.alerts.faults
	@$(BIN)/glasshouse tune --no-history --strict

test: install-dev ## Run the tests except the long ones; installs what they need on a fresh machine
	@lab/stack/install.sh $(TEST_PACKAGES)
	@lab/stack/kubectl.sh || true
	$(BIN)/python -m pytest $(WORKERS) -m "not long" $(ARGS)

test-long: install-dev ## Run only the long tests, which repeat something many times
	@lab/stack/install.sh $(TEST_PACKAGES)
	$(BIN)/python -m pytest $(WORKERS) -m long $(ARGS)

test-all: test test-long ## Run all tests

dist: install-dev ## Build the wheel in dist/: `pipx install dist/*.whl` installs the command `glasshouse`
	@rm -rf dist
	@$(BIN)/pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	@ls dist/*.whl

lock: ## Update the pinned requirements
	@$(CREATE_VENV)
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile -q pyproject.toml --extra dev $(LOCK) -o requirements/dev.txt
	$(BIN)/uv pip compile -q requirements/pip.in $(LOCK) --allow-unsafe -o requirements/pip.txt
	$(BIN)/uv pip compile -q requirements/service.in -c requirements/dev.txt $(LOCK) -o requirements/service.txt
	$(BIN)/uv pip compile -q pyproject.toml -c requirements/dev.txt $(LOCK) -o requirements/lab.txt
	$(BIN)/uv pip compile -q requirements/build.in -c requirements/dev.txt $(LOCK) -o requirements/build.txt
LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --prerelease if-necessary-or-explicit

# --- prerequisites of other targets
install:
	@lab/stack/install.sh
	@$(MAKE) -s venv

# Installs a Python if none is named and none is there. The pip of Ubuntu 22.04 would not count its Python 3.11.0rc1 as older
# than 3.12 in markers.
CREATE_VENV = { [ -n "$(PYTHON)" ] || lab/stack/python.sh >/dev/null 2>&1 || lab/stack/install.sh --python; } && \
	python=$$(lab/stack/python.sh $(PYTHON)) && "$$python" -m venv .venv && \
	{ $(BIN)/python -c 'import sys; sys.exit(sys.version_info.releaselevel != "final")' || \
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/pip.txt; }

venv: .venv/lab
.venv/lab: requirements/lab.txt requirements/build.txt pyproject.toml
	@echo "environment: installing Python packages into .venv (half a minute the first time)"
	@$(CREATE_VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/lab.txt -r requirements/build.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

install-dev: .venv/dev
.venv/dev: requirements/dev.txt pyproject.toml
	@echo "environment: installing Python packages, those of the tests too, into .venv (a minute the first time)"
	@$(CREATE_VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ .venv/lab

.PHONY: help up native demo down clean k8s-up k8s-down k8s-digests load view live-check reload bench dashboards docs rules manifests lint test test-long test-all dist lock install venv install-dev
