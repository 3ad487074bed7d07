# syntax=docker/dockerfile:1
# What runs in the Ray pods: Ray's image with vLLM of our lock, and llama_serving. Built by your CI, from the root of the repository:
#   docker build -f images/serving.Dockerfile -t REGISTRY/llama-serving:VERSION .
# Not rayproject/ray-llm: that of Ray 2.60 has vLLM 0.29, for which Ray's own extra asks.
# Another Ray: --build-arg RAY=... with a lock for it (requirements/serving.in), and the chart's settings.rayVersion.
ARG PYTHON=3.13-slim-trixie
ARG RAY=2.60.0
ARG RAY_SUFFIX=py312-cu130

FROM python:${PYTHON} AS wheel
WORKDIR /src
COPY requirements/ requirements/
RUN pip install --no-cache-dir -r requirements/uv.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY operator/ operator/
COPY serving/ serving/
RUN uv build --wheel --out-dir /dist

FROM rayproject/ray:${RAY}-${RAY_SUFFIX}
ARG RAY
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="llama-serving" \
      org.opencontainers.image.description="Ray Serve + vLLM with the builder and the autoscaling policy of llama-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# First, and by hash: it is nearly all of the image, and the same for every version of ours.
COPY requirements/serving.txt /tmp/serving.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/serving.txt
COPY --from=wheel /dist/*.whl /tmp/wheel/
RUN pip install --no-cache-dir --no-deps /tmp/wheel/*.whl \
 # Some platforms run it under a user of their own, in group 0, who has to read what belongs to the user of the base.
 && chmod a+rx "${HOME}"
# What Ray Serve starts as HAProxy: it puts the choice of replicas into the configuration, and becomes HAProxy.
ENV RAY_SERVE_HAPROXY_BINARY_PATH=/home/ray/anaconda3/bin/llama-haproxy
# A base or a lock that does not fit fails here, under such a user, and not on a GPU.
USER 12345:0
RUN HOME=/tmp python -c "import ray, llama_serving.config; assert ray.__version__ == '${RAY}', ray.__version__" \
 && HOME=/tmp "${RAY_SERVE_HAPROXY_BINARY_PATH}" -v \
 && HOME=/tmp python -c "from importlib.metadata import version as v; assert tuple(map(int, v('vllm').split('+')[0].split('.')[:2])) >= (0, 32), v('vllm')"
# The user `ray` of the base, by number.
USER 1000:100
WORKDIR /home/ray
