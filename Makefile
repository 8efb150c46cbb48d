# `make` lists the targets. Needs Python 3.11 to 3.13 and nothing else; no virtual environment to activate.
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Somebody else's environment must not leak into ours.
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV
export PYTHON
export UV_CACHE_DIR := $(CURDIR)/.cache/uv

PYTEST_ARGS ?=
faceid := .venv/bin/faceid
pytest := .venv/bin/python -m pytest
ruff := .venv/bin/ruff
uv_compile := .venv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock'

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

.PHONY: environment
environment:
	@sh scripts/environment.sh

.PHONY: demo
demo: environment ## Set everything up and show the service at work with real photos
	@$(faceid) demo

.PHONY: setup
setup: environment ## Fetch the weights; make keys and a certificate
	@$(faceid) setup

.PHONY: serve
serve: setup ## Run the service on https://127.0.0.1:8443
	@$(faceid) serve

.PHONY: test
test: setup ## Run every test, those of the whole service included
	@.venv/bin/python -m scripts.photos
	@.venv/bin/python -m tests.servers
	@$(pytest) -m "not long" $(PYTEST_ARGS)

.PHONY: test-distributed
test-distributed: setup ## Run all tests of the HTTPS API on Kafka, MongoDB, Qdrant and S3 servers
	@.venv/bin/python -m tests.servers
	@$(pytest) tests/ingress --stores distributed $(PYTEST_ARGS)

.PHONY: chaos
chaos: setup ## Kill everything at random under load, and see that nothing is lost (long)
	@.venv/bin/python -m scripts.photos
	@.venv/bin/python -m tests.servers
	@.venv/bin/python -m tests.chaos --stores embedded $(CHAOS_ARGS)
	@.venv/bin/python -m tests.chaos --stores distributed $(CHAOS_ARGS)

.PHONY: check
check: lint ## Lint and run the quick tests (no weights needed, under 2 minutes)
	@$(pytest) -m "not system and not long" $(PYTEST_ARGS)

.PHONY: lint
lint: environment ## Check style, format and types
	@$(ruff) check .
	@$(ruff) format --check .
	@.venv/bin/python -m pyright

.PHONY: format
format: environment ## Put the code into its format and fix what can be fixed
	@$(ruff) check --fix-only --quiet .
	@$(ruff) format .

.PHONY: lock
lock: environment ## Solve requirements.lock again for the versions in pyproject.toml
	@$(uv_compile) --all-extras --output-file requirements.lock pyproject.toml
	@grep '^uv==' requirements.lock | sed 's/ .*//' | \
		$(uv_compile) --no-annotate --output-file requirements/bootstrap.lock -
	@$(uv_compile) --no-annotate --output-file requirements/client.lock requirements/client.in
	@# The images' sets begin as the whole one, so that their versions are its versions.
	@cp requirements.lock requirements/ingress.lock
	@$(uv_compile) --no-annotate --output-file requirements/ingress.lock requirements/ingress.in
	@cp requirements.lock requirements/worker-cuda.lock
	@$(uv_compile) --no-annotate --extra traces --extra cuda --output-file requirements/worker-cuda.lock pyproject.toml
	@# On a processor nothing imports PyTorch, though facenet-pytorch, whose data files are read, asks for it.
	@awk '/^[a-z]/ { kept = $$0 !~ /^(torch|torchvision|triton|nvidia-[a-z0-9-]*|cuda-[a-z]*)==/ } !/^[a-z ]/ || kept' \
		requirements/worker-cuda.lock >requirements/worker.lock
	@$(uv_compile) --no-annotate --output-file requirements/secantus.lock requirements/secantus.in
	@echo "requirements.lock: $$(grep -c '^[a-z].*==' requirements.lock) packages"

.PHONY: clean
clean: ## Remove the environment and all that was downloaded; keep data and keys
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	@rm -rf .venv .cache .pytest_cache .ruff_cache .hypothesis *.egg-info build
	@if [ -d .faceid ]; then echo "Kept: data, keys and certificates in .faceid (to erase them too: rm -r .faceid)"; fi
