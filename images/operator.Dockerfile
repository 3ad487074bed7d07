# syntax=docker/dockerfile:1
# The operator: built by your CI, from the root of the repository:
#   docker build -f images/operator.Dockerfile -t REGISTRY/llama-operator:VERSION .
ARG PYTHON=3.13-slim-trixie

FROM python:${PYTHON} AS build
WORKDIR /src
COPY requirements/ requirements/
RUN pip install --no-cache-dir -r requirements/uv.txt
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY operator/ operator/
COPY serving/ serving/
# The lock bounds the versions. Bytecode is compiled here: the file system is read-only later.
RUN python -m venv --without-pip /opt/llama-operator \
 && uv pip install --no-cache --compile-bytecode --python /opt/llama-operator/bin/python \
      --constraint requirements/all.txt ".[operator]"

FROM python:${PYTHON}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="llama-operator" \
      org.opencontainers.image.description="Turns a LlamaDeployment into a sharded, autoscaled Ray Serve + vLLM endpoint" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/llama-operator /opt/llama-operator
ENV PATH=/opt/llama-operator/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that runAsNonRoot can be checked without the image's passwd.
USER 65532:65532
WORKDIR /tmp
EXPOSE 8081
ENTRYPOINT ["llama-operator"]
