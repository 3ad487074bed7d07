# syntax=docker/dockerfile:1
# What runs in the Ray pods: Ray's image with vLLM of our lock, and llama_serving. `make images` builds it (docs/images.md).
# Not rayproject/ray-llm: that of Ray 2.60 has vLLM 0.29, for which Ray's own extra asks.
# Another Ray: BASE and RAY, with a lock for it (requirements/serving.in), and the chart's settings.rayVersion.
ARG BASE=docker.io/rayproject/ray:2.60.0-py312-cu130

FROM ${BASE} AS wheel
WORKDIR /tmp/src
COPY --chown=1000:100 requirements/build.txt requirements/
RUN --mount=type=secret,id=ca,target=/run/ca.crt,mode=0444 \
    if test -f /run/ca.crt; then export PIP_CERT=/run/ca.crt; fi \
 && python -m venv /tmp/build \
 && /tmp/build/bin/pip install --quiet --no-cache-dir --no-deps --only-binary :all: --require-hashes -r requirements/build.txt
COPY --chown=1000:100 pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY --chown=1000:100 operator/ operator/
COPY --chown=1000:100 serving/ serving/
ARG SOURCE_DATE_EPOCH=0
RUN /tmp/build/bin/pip wheel --quiet --no-cache-dir --no-deps --no-index --no-build-isolation --wheel-dir /tmp/dist .

FROM ${BASE}
ARG RAY=2.60.0
LABEL org.opencontainers.image.title="llama-serving" \
      org.opencontainers.image.description="Ray Serve + vLLM with the builder and the autoscaling policy of llama-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="llama-operator"
# First, and by hash: it is nearly all of the image, and the same for every version of ours.
RUN --mount=type=bind,source=requirements/serving.txt,target=/tmp/serving.txt \
    --mount=type=secret,id=ca,target=/run/ca.crt,mode=0444 \
    if test -f /run/ca.crt; then export PIP_CERT=/run/ca.crt; fi \
 && pip install --no-cache-dir --only-binary :all: --require-hashes -r /tmp/serving.txt
COPY --from=wheel /tmp/dist/*.whl /tmp/wheel/
COPY images/autoscaler.pth /tmp/
RUN cp /tmp/autoscaler.pth "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
 && pip install --no-cache-dir --no-deps --no-index /tmp/wheel/*.whl \
 # Some platforms run it under a user of their own, in group 0, who has to read what belongs to the user of the base.
 && chmod a+rx "${HOME}"
# What Ray Serve starts as HAProxy: it puts the choice of replicas into the configuration, and becomes HAProxy.
ENV RAY_SERVE_HAPROXY_BINARY_PATH=/home/ray/anaconda3/bin/llama-haproxy
# A base or a lock that does not fit fails here, under such a user, and not on a GPU.
USER 12345:0
RUN HOME=/tmp python -m llama_serving.check --ray "${RAY}"
# The user `ray` of the base, by number.
USER 1000:100
WORKDIR /home/ray
