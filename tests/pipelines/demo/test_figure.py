"""The figure shows the picture, the lines found in it and its captions."""

from pathlib import Path

import pytest
from PIL import Image, ImageColor

from pipelines.demo.figure import INK, LINE_INK, MARGIN, SIDE, draw_figure
from schemas.errors import UsageError
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.sets import annotation_set, line


def colours(image: Image.Image) -> set[object]:
    return {colour for _, colour in image.getcolors(1 << 24) or ()}


def test_the_figure_shows_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_shard(tmp_path / "images/00000000.tar", [jpeg(0), jpeg(1)])
    found = [line("OPEN"), line("ALL DAY")]
    annotation_set(f"{tmp_path}/images/*.tar", tmp_path / "annotations", lambda _: found)
    figure = draw_figure(tmp_path, ["000000000000", "000000000001"])
    assert figure.height > 2 * (MARGIN + 48)
    picture = figure.crop((0, 0, SIDE + MARGIN, figure.height))
    captions = figure.crop((SIDE + MARGIN, 0, figure.width, figure.height))
    assert ImageColor.getrgb(LINE_INK) in colours(picture)
    assert ImageColor.getrgb(INK) in colours(captions)
    with pytest.raises(UsageError, match="no annotation with the key '7'"):
        draw_figure(tmp_path, ["7"])
