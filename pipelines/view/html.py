"""Writes a page as one HTML file that needs no server and makes no request.

Every text is escaped twice over: control characters and those that reorder text are written out, so that a caption
reads as it is stored; then the template escapes markup. The page's policy allows no request at all and no script but
its own, by its hash: markup that slipped through could do nothing.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.view.page import MAX_TEXT, Bars, Chips, Drawing, Intervals, Page, Picture, Text, TextGroup
from schemas.masking import mask_secrets
from schemas.terminal import escape_controls

_FOLDER = Path(__file__).parent / "files"
_TESTS = {
    **{"picture": Picture, "text": Text, "group": TextGroup, "chips": Chips},
    **{"bars": Bars, "intervals": Intervals, "drawing": Drawing},
}


def write_html(page: Page) -> bytes:
    """Returns the file. Takes any text, also halves of surrogate pairs."""
    script, style = _read("page.js"), _read("page.css")
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{hash_script(script)}'"
    html: str = _open_template().render(page=page, policy=policy, script=Markup(script), style=Markup(style))
    return html.encode()


def hash_script(script: str) -> str:
    """Returns the source expression of a script in a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def show_text(value: object, limit: int = MAX_TEXT) -> str:
    """Returns a text as a page shows it: without secrets of URLs, cut at `limit`, with its controls written out."""
    text = str(value)
    masked = mask_secrets(text[: 2 * limit])[:limit]  # masked first: half a secret is not found
    return "\n".join(map(escape_controls, masked.split("\n")))


def format_points(points: tuple[float, ...], width: int, height: int) -> str:
    """Returns the corners of a shape in the units of a picture, as an attribute of SVG holds them."""
    sides = [width, height] * (len(points) // 2)
    scaled = [value * side for value, side in zip(points, sides, strict=False)]
    return " ".join(f"{value:.1f}" for value in scaled)


@cache
def _open_template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else show_text(value),
    )
    environment.filters |= {"points": format_points, "own": Markup}
    for name, kind in _TESTS.items():
        environment.tests[name] = lambda value, kind=kind: isinstance(value, kind)
    return environment.get_template("page.html")


@cache
def _read(name: str) -> str:
    return (_FOLDER / name).read_text()
