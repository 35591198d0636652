# syntax=docker/dockerfile:1
# This image adds ONNX Runtime's build for GPUs, in a separate environment, for OCR by RapidOCR with `device: cuda`.
#
#     docker build --file docker/rapidocr-gpu.Dockerfile --tag shardloom:rapidocr-gpu .
#
# It adds 3.0 GB to the base. Its CUDA libraries come from NVIDIA's wheels, so the base needs neither CUDA nor torch for
# GPUs; the host needs a driver for CUDA 13 and NVIDIA's container toolkit. With BASE=shardloom:gpu, one image serves all
# three engines.
ARG BASE=shardloom:cpu

FROM ${BASE} AS build
USER root
ENV PIP_NO_CACHE_DIR=1
RUN shardloom engines --build onnxruntime-gpu

FROM ${BASE}
COPY --from=build /opt/shardloom/environments /opt/shardloom/environments
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000
