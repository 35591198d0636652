"""Prepares images for models: reduced to a largest side, and for a server as the `data:` URL of chat messages."""

import base64
import io

from PIL import Image

from curation.engines.captions.endpoint_settings import EndpointSettings
from curation.images.decode import RgbImage


def encode_image(image: RgbImage, settings: EndpointSettings) -> str:
    """Returns the image as a `data:` URL. The same pixels and settings give the same text with one Pillow."""
    picture = reduce_image(image, settings.image_side)
    file = io.BytesIO()
    if settings.image_format == "jpeg":
        picture.save(file, "JPEG", quality=settings.jpeg_quality)
    else:
        picture.save(file, "PNG")
    return f"data:image/{settings.image_format};base64,{base64.b64encode(file.getvalue()).decode()}"


def reduce_image(image: RgbImage, side: int) -> Image.Image:
    """Returns the image, reduced where its longer side has more pixels than `side`."""
    picture = Image.fromarray(image)
    if max(picture.size) > side:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture
