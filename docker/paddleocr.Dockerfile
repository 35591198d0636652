# syntax=docker/dockerfile:1
# This image adds PaddleOCR, in a separate environment, for the nodes of the OCR pool.
#
#     docker build --file docker/paddleocr.Dockerfile --build-arg BASE=shardloom:cpu --tag shardloom:paddleocr .
#     docker build --file docker/paddleocr.Dockerfile --build-arg BASE=shardloom:gpu \
#         --build-arg ENVIRONMENT=paddleocr-gpu --build-arg EXTRA_INDEX=URL --tag shardloom:paddleocr-gpu .
#
# The first command builds an image that runs ONNX weights on CPUs, the second one that runs paddlepaddle on GPUs. Its
# wheels are not on PyPI: URL is the index for your driver, from PaddlePaddle's install page. The environment is built
# here, by the same command and pins as on a local machine, so that no node has to build it at start-up.
ARG BASE=shardloom:cpu

FROM ${BASE} AS build
ARG ENVIRONMENT=paddleocr
ARG EXTRA_INDEX=""
USER root
ENV PIP_NO_CACHE_DIR=1 PIP_EXTRA_INDEX_URL=${EXTRA_INDEX}
RUN shardloom engines --build ${ENVIRONMENT}

FROM ${BASE}
USER root
# PaddleX pins the OpenCV build with GUI support.
RUN apt-get update && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/shardloom/environments /opt/shardloom/environments
USER 1000
