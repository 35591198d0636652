"""Encodes images for a server: reduced to a largest side, as the `data:` URL that chat messages carry."""

import base64
import io

from PIL import Image

from curation.engines.captions.endpoint_settings import EndpointSettings
from curation.images.decode import RgbImage


def encode_image(image: RgbImage, settings: EndpointSettings) -> str:
    """Returns the image as a `data:` URL. The same pixels and settings give the same text with one Pillow."""
    picture = Image.fromarray(image)
    if max(picture.size) > settings.image_side:
        picture.thumbnail((settings.image_side, settings.image_side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    if settings.image_format == "jpeg":
        picture.save(file, "JPEG", quality=settings.jpeg_quality)
    else:
        picture.save(file, "PNG")
    return f"data:image/{settings.image_format};base64,{base64.b64encode(file.getvalue()).decode()}"
