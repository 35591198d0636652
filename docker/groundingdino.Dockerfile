# syntax=docker/dockerfile:1
# This image adds Grounding-DINO's own package, in a separate environment, for the nodes of the boxes pool.
#
#     docker build --file docker/groundingdino.Dockerfile --tag shardloom:groundingdino .
#
# It adds 5.6 GB to the base: its own torch and torchvision, and an older transformers.
ARG BASE=shardloom:gpu

FROM ${BASE} AS build
USER root
ENV PIP_NO_CACHE_DIR=1
RUN shardloom engines --build groundingdino-py

FROM ${BASE}
USER root
# The package requires the OpenCV build with GUI support.
RUN apt-get update && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/shardloom/environments /opt/shardloom/environments
USER 1000
