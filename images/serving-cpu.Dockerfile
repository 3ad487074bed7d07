# syntax=docker/dockerfile:1
# The Ray pods on machines without a GPU: for trials and tests. `make images-local ARGS=llama-serving-cpu` builds it.
# A base with a Python, what Ray's pods call by name (bash and wget), and the library that vLLM's kernels for CPU ask for.
ARG BASE=localhost/debian-python-bash-libnuma1-wget:trixie

FROM ${BASE} AS wheel
WORKDIR /src
RUN python -m venv /build
COPY requirements/build.txt requirements/
RUN --mount=type=secret,id=ca,target=/run/ca.crt \
    if test -f /run/ca.crt; then export PIP_CERT=/run/ca.crt; fi \
 && /build/bin/pip install --quiet --no-cache-dir --no-deps --only-binary :all: --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY operator/ operator/
COPY serving/ serving/
ARG SOURCE_DATE_EPOCH=0
RUN /build/bin/pip wheel --quiet --no-cache-dir --no-deps --no-index --no-build-isolation --wheel-dir /dist .

FROM ${BASE}
ARG SOURCE_DATE_EPOCH=0
ARG RAY=2.60.0
LABEL org.opencontainers.image.title="llama-serving-cpu" \
      org.opencontainers.image.description="Ray Serve + vLLM for CPU with the builder and the autoscaling policy of llama-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="llama-operator"
# First, and by hash, as in serving.Dockerfile. In place: a copy from another stage would need the room twice.
RUN --mount=type=bind,source=requirements/serving-cpu.txt,target=/tmp/serving.txt \
    --mount=type=secret,id=ca,target=/run/ca.crt \
    if test -f /run/ca.crt; then export PIP_CERT=/run/ca.crt; fi \
 && python -m venv /opt/llama-serving \
 && /opt/llama-serving/bin/pip install --quiet --no-cache-dir --no-deps --no-compile --only-binary :all: --require-hashes \
      -r /tmp/serving.txt
COPY --from=wheel /dist/*.whl /tmp/wheel/
COPY images/finish.py images/autoscaler.pth /opt/
RUN /opt/llama-serving/bin/pip install --quiet --no-cache-dir --no-deps --no-compile --no-index /tmp/wheel/*.whl \
 && mv /opt/autoscaler.pth "$(/opt/llama-serving/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
 && useradd --uid 1000 --gid 100 --create-home --home-dir /home/ray ray && chmod a+rx /home/ray \
 && PYTHONHASHSEED=0 /opt/llama-serving/bin/python /opt/finish.py /opt/llama-serving setuptools _distutils_hack pkg_resources \
 && rm -r /opt/finish.py /tmp/wheel
ENV PATH=/opt/llama-serving/bin:$PATH \
    HOME=/home/ray \
    RAY_SERVE_HAPROXY_BINARY_PATH=/opt/llama-serving/bin/llama-haproxy
# A base or a lock that does not fit fails here, under a user whom it does not know.
USER 12345:0
RUN HOME=/tmp PYTHONDONTWRITEBYTECODE=1 python -m llama_serving.check --ray "${RAY}" --cpu
USER 1000:100
WORKDIR /home/ray
