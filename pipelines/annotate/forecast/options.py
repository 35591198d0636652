"""Defines the options of a forecast."""

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from schemas.output_set.options import Options


class ForecastOptions(Options):
    """Says what is forecast, and how long the probe may take."""

    images: PositiveInt | None = Field(
        None, description="images of the whole run; default: as many as the bytes of the input suggest"
    )
    price_per_hour: NonNegativeFloat | None = Field(None, description="price of an hour of all machines of the run")
    # long enough for a few dozen chunks on a core, which is what the interval is made of
    seconds: PositiveFloat = Field(60.0, description="seconds of work of the probe, without the start of the engines")
    seed: int = Field(0, description="seed of the sample of images")
