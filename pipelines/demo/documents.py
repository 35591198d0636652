"""Generates interleaved documents in the layout of MINT-1T HTML, with a map from URLs to image files.

The documents are pages of a town's news: a headline, and a few pictures with a remark on each. The first picture of one
page is missing, as happens on the web.
"""

import hashlib
import json
import random
from typing import Any

import pyarrow as pa

from pipelines.demo.pictures import Picture, draw_picture
from pipelines.demo.sheet import CITIES, MONTHS, PLACES, REMARKS, TITLES
from pipelines.output.writer import encode_parquet
from schemas.storage.folder import Folder

DOCUMENTS_FILE, URL_MAP_FILE = "documents.parquet", "urls.json"
FIRST_PICTURE = 1_000_000  # index in the endless series, beyond those of the image shards
MAX_PICTURES = 3  # in a document
LOST_IMAGE_DOCUMENT = 2  # number of the document whose first picture is missing

MINT_HTML = pa.schema(
    [
        ("texts", pa.list_(pa.string())),
        ("images", pa.list_(pa.string())),
        ("image_hashes", pa.list_(pa.string())),  # one per image, not per part
        ("images_metadata", pa.string()),
        ("metadata", pa.string()),
        ("url", pa.string()),
        ("cc_dump", pa.string()),
    ]
)


def write_documents(folder: Folder, count: int, seed: int = 0) -> None:
    """Writes the Parquet file, the images and their map. The same arguments give the same bytes."""
    rows, places = [], dict[str, str]()
    for number in range(count):
        pictures = draw_pictures(seed, number)
        urls = [f"https://news.example.org/{seed}/{number}/{place}.jpg" for place in range(len(pictures))]
        rows.append(build_page(seed, number, pictures, urls))
        for place, (url, picture) in enumerate(zip(urls, pictures, strict=True)):
            if (number, place) != (LOST_IMAGE_DOCUMENT, 0):
                places[url] = f"{number:04d}-{place}.jpg"
                folder.write(places[url], picture.jpeg)
    folder.write(DOCUMENTS_FILE, encode_parquet([pa.Table.from_pylist(rows, schema=MINT_HTML)], MINT_HTML))
    folder.write(URL_MAP_FILE, json.dumps(places, indent=1).encode())


def draw_pictures(seed: int, number: int) -> list[Picture]:
    """Draws the one to three pictures of a document."""
    first = FIRST_PICTURE + MAX_PICTURES * number
    return [draw_picture(seed, first + place) for place in range((2, 1, 2, 3)[number % 4])]


def build_page(seed: int, number: int, pictures: list[Picture], urls: list[str]) -> dict[str, Any]:
    """Builds one row. Its pictures stand between texts, except the third, which directly follows the second."""
    rng = random.Random(f"{seed}/document/{number}")
    when = f"{rng.randint(1, 28)} {rng.choice(MONTHS)}"
    texts: list[str | None] = [f"{rng.choice(TITLES)}\n\n{rng.choice(CITIES)}, {when}. {rng.choice(REMARKS)}."]
    images: list[str | None] = [None]
    for place, (picture, url) in enumerate(zip(pictures, urls, strict=True)):
        if place == 1:
            texts.append(
                f"{rng.choice(REMARKS)}. The next one is from {rng.choice(PLACES)}: {describe_picture(picture)}."
            )
            images.append(None)
        texts.append(None)
        images.append(url)
    texts.append(f"That was {rng.choice(PLACES)}. {rng.choice(REMARKS)}.")
    images.append(None)
    return {
        "texts": texts,
        "images": images,
        "image_hashes": [hashlib.sha256(picture.jpeg).hexdigest() for picture in pictures],
        "images_metadata": json.dumps([{"alt_text": picture.caption} for picture in pictures], ensure_ascii=False),
        "metadata": json.dumps({"pictures": len(pictures)}),
        "url": f"https://news.example.org/{seed}/{number}",
        "cc_dump": "",
    }


def describe_picture(picture: Picture) -> str:
    """Returns a few words on what a picture shows."""
    if picture.lines:
        return f"a {picture.kind} that says “{picture.lines[0].text}”"
    return f"a {picture.kind} with {', '.join(label for label, _ in picture.objects) or 'nothing in it'}"
