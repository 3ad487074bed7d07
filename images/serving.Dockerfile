# syntax=docker/dockerfile:1
# What runs in the Ray pods: Ray and vLLM of ray-llm, with llama_serving. Built by your CI, from the root of the repository:
#   docker build -f images/serving.Dockerfile -t REGISTRY/llama-serving:VERSION .
# Another Ray: --build-arg RAY=... and the same version in the chart's settings.rayVersion.
ARG PYTHON=3.13-slim-trixie
ARG RAY=2.60.0
ARG RAY_LLM_SUFFIX=py312-cu129

FROM python:${PYTHON} AS wheel
WORKDIR /src
COPY requirements/ requirements/
RUN pip install --no-cache-dir -r requirements/uv.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY operator/ operator/
COPY serving/ serving/
RUN uv build --wheel --out-dir /dist

FROM rayproject/ray-llm:${RAY}-${RAY_LLM_SUFFIX}
ARG RAY
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="llama-serving" \
      org.opencontainers.image.description="Ray Serve + vLLM with the builder and the autoscaling policy of llama-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=wheel /dist/*.whl /tmp/wheel/
# Without dependencies: Ray and vLLM of the base are what was tested together. A base that does not fit fails here, and
# not on a GPU.
RUN pip install --no-cache-dir --no-deps /tmp/wheel/*.whl \
 && python -c "import ray, llama_serving.config; assert ray.__version__ == '${RAY}', ray.__version__" \
 && python -c "from importlib.metadata import version as v; assert tuple(map(int, v('vllm').split('+')[0].split('.')[:2])) >= (0, 32), v('vllm')"
# The user `ray` of the base, by number.
USER 1000:100
WORKDIR /home/ray
