# syntax=docker/dockerfile:1
# Shardloom with img2dataset in an environment of its own, for nodes that download images from the web.
#
#     docker build --file docker/img2dataset.Dockerfile --tag shardloom:img2dataset .
#
# 0.8 GB on top of the base.
ARG BASE=shardloom:cpu

FROM ${BASE} AS build
USER root
ENV PIP_NO_CACHE_DIR=1
RUN shardloom engines --build img2dataset

FROM ${BASE}
COPY --from=build /opt/shardloom/environments /opt/shardloom/environments
USER 1000
