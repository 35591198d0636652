# syntax=docker/dockerfile:1
# This image adds img2dataset, in a separate environment, for nodes that download images from the web.
#
#     docker build --file docker/img2dataset.Dockerfile --tag shardloom:img2dataset .
#
# It adds 0.8 GB to the base.
ARG BASE=shardloom:cpu

FROM ${BASE} AS build
USER root
ENV PIP_NO_CACHE_DIR=1
RUN shardloom engines --build img2dataset

FROM ${BASE}
COPY --from=build /opt/shardloom/environments /opt/shardloom/environments
USER 1000
