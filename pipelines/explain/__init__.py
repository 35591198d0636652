"""Traces a caption back: to the detection, the engine, the bytes of the image, and the row that it all came from."""

from pipelines.explain.options import ExplainOptions as ExplainOptions
from pipelines.explain.run import explain as explain
