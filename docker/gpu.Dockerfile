# syntax=docker/dockerfile:1
# This image is for nodes with NVIDIA GPUs: tags by SigLIP, boxes by Grounding-DINO, training.
#
#     docker build --file docker/gpu.Dockerfile --tag shardloom:gpu .
#
# torch's wheels include CUDA, so the base image needs none; the host needs the driver and NVIDIA's container toolkit.
#
# PYTHON is the version that the pins were tested with. The tag of the base image may move; to fix its digest:
# --build-context python:3.11.7-slim-bookworm=docker-image://python@sha256:...
ARG PYTHON=3.11.7

FROM python:${PYTHON}-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
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
# KubeRay's probes call Ray's agents with wget; Triton needs a C compiler when a model is compiled.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev wget && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home shardloom
COPY --from=build /opt/shardloom /opt/shardloom
ENV PATH=/opt/shardloom/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    SHARDLOOM_ENVIRONMENTS=/opt/shardloom/environments
USER 1000
WORKDIR /home/shardloom
CMD ["shardloom", "--help"]
