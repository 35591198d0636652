# syntax=docker/dockerfile:1
# Shardloom with PaddleOCR in an environment of its own, for the nodes of the OCR pool.
#
#     docker build --file docker/paddleocr.Dockerfile --build-arg BASE=shardloom:cpu --tag shardloom:paddleocr .
#     docker build --file docker/paddleocr.Dockerfile --build-arg BASE=shardloom:gpu \
#         --build-arg ENVIRONMENT=paddleocr-gpu --build-arg EXTRA_INDEX=URL --tag shardloom:paddleocr-gpu .
#
# The first reads ONNX weights on CPUs. The second runs paddlepaddle on GPUs, whose wheels are not on PyPI: URL is the
# index that PaddlePaddle's install page names for the driver. The environment is built here, by the same command as on a
# laptop and from the same pins, so that no node has to build one as it starts.
ARG BASE=shardloom:cpu

FROM ${BASE} AS build
ARG ENVIRONMENT=paddleocr
ARG EXTRA_INDEX=""
USER root
ENV PIP_NO_CACHE_DIR=1 PIP_EXTRA_INDEX_URL=${EXTRA_INDEX}
RUN shardloom engines --build ${ENVIRONMENT}

FROM ${BASE}
USER root
# The OpenCV that PaddleX pins is the one with windows.
RUN apt-get update && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/shardloom/environments /opt/shardloom/environments
USER 1000
