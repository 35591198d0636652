"""Defines the settings of the endpoint engine, which its declaration and its client share."""

import math
import os
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

NO_KEY = "none"  # sent in place of a key, as the client takes no empty one and would send that of OPENAI_API_KEY
RUN_SETTINGS = ("base_url", "key_variable", "in_flight", "timeout_seconds", "patience_seconds", "check_server")
"""Where and how the server is asked. This cannot alter an answer, so it is in `run.settings` and may differ by run."""


class EndpointSettings(BaseModel):
    """Says what an OpenAI-compatible server is asked, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = ""  # the name by which the server knows it; a run needs one
    # False: the prompt alone is sent, to rewrite what earlier stages found.
    send_image: bool = True
    # Long side in pixels to which larger images are reduced: most servers charge tokens by area and reduce to about
    # this themselves. Smaller images are sent as they are.
    image_side: int = Field(default=1024, ge=32, le=8192)
    image_format: Literal["jpeg", "png"] = "jpeg"  # png keeps every pixel, and is ten times as large
    jpeg_quality: int = Field(default=90, ge=1, le=100)  # below, small print suffers
    # Of the answer. A caption that reaches it has the status `truncated`.
    max_tokens: int = Field(default=512, ge=1)
    # The parameter that carries it: newer models of OpenAI take the second one alone.
    max_tokens_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    # 0: the likeliest text, as repeatable as the server allows. None leaves a parameter out, as some models want.
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = 0
    # The address of the API, such as http://localhost:8000/v1. No other address is asked, by no redirect either.
    base_url: str | None = None
    # The environment variable that holds the key; None: the server needs none.
    key_variable: str | None = None
    # Requests of one worker at a time. A server with eight GPUs is busy with several hundred in all.
    in_flight: int = Field(default=16, ge=1, le=4096)
    timeout_seconds: float = Field(default=120.0, gt=0)  # of one try: a long answer of a busy server
    # Of one image over all tries: rate limits are set by the minute, and a server that restarts takes a few.
    patience_seconds: float = Field(default=600.0, ge=0)
    # Asks the server once before the run, from the machine of the command. False where only the workers reach it, as
    # where each node has its own.
    check_server: bool = True

    def read_key(self) -> str:
        """Returns the key from the environment; empty where the server needs none."""
        return os.environ.get(self.key_variable, "") if self.key_variable else ""

    def compute_wait_seconds(self, images: int) -> float:
        """Returns the most seconds for which a batch of this many images waits for the server."""
        return math.ceil(images / self.in_flight) * (self.patience_seconds + self.timeout_seconds)
