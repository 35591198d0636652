# syntax=docker/dockerfile:1
# This image is for nodes without GPUs: the head of a cluster, reading, decoding, OCR by RapidOCR, rendering, mixing.
#
#     docker build --file docker/cpu.Dockerfile --tag shardloom:cpu .
#
# torch from PyPI brings 3 GB of CUDA libraries. To leave them out, pass --build-arg EXTRA_INDEX=URL with the index of
# CPU builds from PyTorch's install page. Every image installs the versions of constraints.txt.
#
# PYTHON is the version that the pins were tested with. The tag of the base image may move; to fix its digest:
# --build-context python:3.11.7-slim-bookworm=docker-image://python@sha256:...
ARG PYTHON=3.11.7

FROM python:${PYTHON}-slim-bookworm AS build
ARG EXTRA_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_EXTRA_INDEX_URL=${EXTRA_INDEX}
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY schemas schemas
COPY curation curation
COPY pipelines pipelines
COPY training training
COPY recipes recipes
RUN python -m venv /opt/shardloom/venv
RUN /opt/shardloom/venv/bin/pip install --constraint constraints.txt '.[all]'

FROM python:${PYTHON}-slim-bookworm
# KubeRay's probes call Ray's agents with wget.
RUN apt-get update && apt-get install --yes --no-install-recommends wget && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home shardloom
COPY --from=build /opt/shardloom /opt/shardloom
ENV PATH=/opt/shardloom/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SHARDLOOM_ENVIRONMENTS=/opt/shardloom/environments
USER 1000
WORKDIR /home/shardloom
CMD ["shardloom", "--help"]
