"""A small progressive JPEG that takes a decoder as long as the number of its scans says."""

import io

from PIL import Image

from curation.images.jpeg_scans import count_scans


def many_scans(scans: int, side: int) -> bytes:
    """Returns a grey square that is stored in so many scans, of which all but the first few say nothing new."""
    file = io.BytesIO()
    Image.new("L", (side, side), 90).save(file, "JPEG", progressive=True, quality=50)
    data = file.getvalue()
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    more = scans - count_scans(data)
    return data[:end] + data[last:end] * more + data[end:]
