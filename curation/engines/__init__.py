"""Annotators. An engine turns a batch of decoded images into annotations and knows nothing of shards."""

import os

# From 1.29 on ONNX Runtime tells Microsoft of every model it loads, unless this stands before it is imported. It would
# also leave a file with an identifier among the temporary ones.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
