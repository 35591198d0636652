"""This package holds the annotators: an engine turns a batch of decoded images into annotations and ignores shards."""

import os

# From 1.29 on ONNX Runtime reports every model that it loads to Microsoft, and writes a file with an identifier into
# the temporary folder, unless this is set before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
