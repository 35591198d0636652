"""Pages in a real browser: no error, no request, words and places that light up together, quick and small enough.

Skipped without a headless Chromium: one in the PATH, or the one that SHARDLOOM_CHROMIUM names.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipelines.view.html import hash_script
from pipelines.view.options import ViewOptions
from pipelines.view.run import write_view
from schemas.records.box import BOXES_COLUMN, Detection, detection_to_arrow
from schemas.records.tag import TAGS_COLUMN, Tag, tag_to_arrow
from schemas.records.text_line import OCR_COLUMN, line_to_arrow
from schemas.tar.writer import TarWriter
from tests.pipelines.support.pages import HOSTILE, read_page
from tests.pipelines.support.sets import annotated, line
from tests.pipelines.support.views import noise

pytestmark = pytest.mark.slow

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = os.environ.get("SHARDLOOM_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
MAX_SECONDS, MAX_BYTES = 3.0, 15 << 20  # of a page with 200 pictures

PROBE = """
const found = {};
const card = document.querySelector(".card");
const polygon = card.querySelector("polygon");
const word = card.querySelector(".group .linked");
const lit = () => [...document.querySelectorAll(".lit")].map((one) => one.tagName.toLowerCase());
word.dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
found.hovered = lit();
document.body.dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
found.left = lit();
polygon.dispatchEvent(new FocusEvent("focusin", {bubbles: true}));
found.focused = lit();
polygon.dispatchEvent(new FocusEvent("focusout", {bubbles: true}));
word.dispatchEvent(new MouseEvent("click", {bubbles: true}));
document.body.dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
found.pinned = lit();
document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape", bubbles: true}));
found.escaped = lit();
const box = document.querySelector("input[data-layer]");
box.click();
found.hidden = getComputedStyle(document.querySelector(".layer-" + box.dataset.layer)).display;
const [overlay, image] = ["svg", "img"].map((tag) => card.querySelector(tag).getBoundingClientRect());
found.overlaid = ["x", "y", "width", "height"].every((side) => Math.abs(overlay[side] - image[side]) < 1);
found.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const names = performance.getEntriesByType("resource").map((one) => one.name);
found.resources = names.filter((one) => !one.startsWith("data:"));
addEventListener("load", () => setTimeout(() => {
  found.seconds = performance.getEntriesByType("navigation")[0].loadEventEnd / 1000;
  found.broken = [...document.images].filter((one) => one.complete && !one.naturalWidth).length;
  document.title = JSON.stringify(found);
}));
"""


def make_set(folder: Path, count: int) -> Path:
    """Annotations of so many pictures of photos' sizes, with hostile texts."""
    (folder / "images").mkdir()
    with (folder / "images/00000000.tar").open("wb") as file:
        writer = TarWriter(file)
        for number in range(count):
            writer.add(f"{number:06d}.jpg", noise(number % 5, 640, 480))
            writer.add(f"{number:06d}.txt", HOSTILE[number % len(HOSTILE)].replace("\x00", "").encode())
        writer.close()
    dog = detection_to_arrow(Detection("dog", "dog", (0.1, 0.2, 0.3, 0.4), 0.9))
    texts = [text.replace("\x00", "") for text in HOSTILE]
    return annotated(
        f"{folder}/images/*.tar",
        folder / "annotations",
        {
            "ocr": (
                OCR_COLUMN,
                lambda key: [line_to_arrow(line(texts[int(key) % len(texts)])), line_to_arrow(line("b"))],
            ),
            "tags": (TAGS_COLUMN, lambda _: [tag_to_arrow(Tag("dog", 0.8, "image"))]),
            "boxes": (BOXES_COLUMN, lambda _: [dog]),
        },
    )


def browse(page: Path, width: int, folder: Path) -> tuple[dict[str, Any], str]:
    """What the probe finds in a copy of the page that may run it, and what the browser complains about."""
    assert CHROMIUM is not None
    text = page.read_text()
    copy = folder / "probed.html"
    policy = re.search(r"script-src &#39;(sha256-[^&]+)&#39;", text)
    assert policy is not None
    copy.write_text(
        text.replace(policy[1], f"{policy[1]}&#39; &#39;{hash_script(PROBE)}", 1).replace(
            "</body>", f"<script>{PROBE}</script></body>"
        )
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"]
    flags += [f"--user-data-dir={folder}/profile", f"--window-size={width},900", "--virtual-time-budget=20000"]
    command = [CHROMIUM, *flags, "--dump-dom", f"file://{copy}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = read_page(done.stdout.encode()).find_all("title")[0].read()
    complaints = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(title), complaints


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.parametrize("width", [1280, 500])
def test_200_pictures_in_a_browser(tmp_path: Path, width: int) -> None:
    page = tmp_path / "page.html"
    totals = write_view(str(make_set(tmp_path, 200)), str(page), ViewOptions(sample=200))
    assert totals.samples == 200
    assert totals.bytes < MAX_BYTES
    found, complaints = browse(page, width, tmp_path)
    assert complaints == ""
    assert found["hovered"].count("polygon") == 1
    assert "span" in found["hovered"]
    assert found["left"] == found["escaped"] == []
    assert found["pinned"] == found["hovered"]
    assert found["focused"].count("polygon") == 1
    assert (found["hidden"], found["overlaid"], found["overflow"]) == ("none", True, 0)
    assert (found["resources"], found["broken"]) == ([], 0)
    assert found["seconds"] < MAX_SECONDS
