# syntax=docker/dockerfile:1
# Shardloom with Grounding-DINO's own package in an environment of its own, for the nodes of the boxes pool.
#
#     docker build --file docker/groundingdino.Dockerfile --tag shardloom:groundingdino .
#
# 5.6 GB on top of the base: it has a torch and a torchvision of its own, and an older transformers.
ARG BASE=shardloom:gpu

FROM ${BASE} AS build
USER root
ENV PIP_NO_CACHE_DIR=1
RUN shardloom engines --build groundingdino-py

FROM ${BASE}
USER root
# The OpenCV that the package wants is the one with windows.
RUN apt-get update && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/shardloom/environments /opt/shardloom/environments
USER 1000
