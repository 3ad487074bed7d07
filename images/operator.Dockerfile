# syntax=docker/dockerfile:1
# The operator. `make images` builds it; docs/images.md says how, and what a base needs.
# A tag moves: a release names its base by digest (`make images RELEASE=1`), and nobody else has to.
ARG BASE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE} AS build
ARG SOURCE_DATE_EPOCH=0
WORKDIR /src
# Tools of the build live in an environment of their own, and stay in this stage.
RUN python -m venv /build && python -m venv --without-pip /opt/llama-operator
COPY requirements/operator.txt requirements/build.txt requirements/
# By hash, as the lock says, and without resolving: nothing less and nothing more. No source is compiled.
RUN --mount=type=secret,id=ca,target=/run/ca.crt \
    if test -f /run/ca.crt; then export PIP_CERT=/run/ca.crt; fi \
 && export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
 && /build/bin/pip install --quiet --no-deps --only-binary :all: --require-hashes -r requirements/build.txt \
 && /build/bin/pip --python /opt/llama-operator/bin/python install --quiet --no-deps --no-compile --only-binary :all: \
      --require-hashes -r requirements/operator.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY operator/ operator/
COPY serving/ serving/
RUN /build/bin/pip wheel --quiet --no-cache-dir --no-deps --no-index --no-build-isolation --wheel-dir /dist . \
 && /build/bin/pip --python /opt/llama-operator/bin/python install --quiet --no-deps --no-compile --no-index /dist/*.whl

FROM ${BASE}
ARG SOURCE_DATE_EPOCH=0
# What is known only when it is built (version, revision, created, base, source) is added by `make images`.
LABEL org.opencontainers.image.title="llama-operator" \
      org.opencontainers.image.description="Turns a LlamaDeployment into a sharded, autoscaled Ray Serve + vLLM endpoint" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="llama-operator"
COPY images/finish.py /opt/finish.py
ENV PATH=/opt/llama-operator/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Without pip, without setuid, with bytecode: the file system is read-only later. The seed makes sets in bytecode equal.
# Not by COPY: of a folder from another stage buildah keeps a checksum with the times of its files in the history.
RUN --mount=type=bind,from=build,source=/opt/llama-operator,target=/mnt \
    cp -a /mnt /opt/llama-operator \
 && PYTHONHASHSEED=0 /opt/llama-operator/bin/python /opt/finish.py /opt/llama-operator && rm /opt/finish.py
# A number, so that runAsNonRoot can be checked without the image's passwd.
USER 65532:65532
WORKDIR /tmp
EXPOSE 8081
ENTRYPOINT ["llama-operator"]
