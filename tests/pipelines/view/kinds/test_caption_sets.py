"""A caption set as a page: captions tied to the lines or boxes that they were made from, and what was left out."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation.captions.families import FAMILIES
from pipelines.view.kinds.caption_sets import _draw_charts
from pipelines.view.options import ViewOptions
from pipelines.view.run import ViewTotals, write_view
from schemas.errors import ShardloomError
from schemas.records.box import Detection
from schemas.records.tag import Tag
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.captions import captioned, written
from tests.pipelines.support.pages import Element, read_page
from tests.pipelines.support.sets import annotation_set, caption_set, grounding_caption_set, grounding_set

DOG, CAT = Detection("dog", "dog", (0.1, 0.2, 0.3, 0.4), 0.9), Detection("cat", "cat", (0.5, 0.5, 0.9, 0.9), 0.5)


def write_images(folder: Path, count: int = 6) -> str:
    (folder / "images").mkdir()
    write_shard(folder / "images/00000000.tar", [jpeg(number) for number in range(count)])
    return f"{folder}/images/*.tar"


def show(output_set: Path, **options: Any) -> tuple[ViewTotals, Element]:
    page = output_set.parent / "page.html"
    return write_view(str(output_set), str(page), ViewOptions.model_validate(options)), read_page(page.read_bytes())


def list_links(article: Element) -> list[tuple[str, str]]:
    return [(one.attributes["data-shapes"], one.read()) for one in article.find_all("span", class_="linked")]


def test_ocr_captions_and_images_with_too_few_lines(tmp_path: Path) -> None:
    annotations = annotation_set(write_images(tmp_path), tmp_path / "annotations")
    totals, page = show(caption_set(annotations, tmp_path / "captions", granularities=[0, 1]))
    assert (totals.kind, totals.samples, totals.quarantined, totals.notes) == ("render", 4, 2, [])
    articles = page.find_all("article")
    assert len(articles) == 6
    assert len(page.find_all("img")) == 6, "pictures of what was left out, too"
    assert list_links(articles[0])[:3] == [
        ("0", '"000000000001 1"'),
        ("1", '"000000000001 2"'),
        ("0", '"000000000001 1" located in the center'),
    ]
    dense = page.find_all("section", class_="dense")[0]
    assert [one.read() for one in dense.find_all("h4")] == ["too_few_lines", "too_few_lines"]
    assert "2 of 2 rows that were left out, some of every reason" in dense.find_all("small")[0].read()
    (bars,) = [
        one for one in page.find_all("figure", class_="chart") if "reason" in one.find_all("figcaption")[0].read()
    ]
    assert bars.find_all("th")[0].read() == "too_few_lines"
    assert bars.find_all("td", class_="figure")[0].read() == "2"


def test_captions_of_a_template_of_the_users_own(tmp_path: Path) -> None:
    template = tmp_path / "own.yaml"
    template.write_text('family: ocr\nlead_in: "Es steht "\ntail: " da."\ngranularities: {0: "<{text}>{score}"}\n')
    annotations = annotation_set(write_images(tmp_path, 2), tmp_path / "annotations")
    _, page = show(caption_set(annotations, tmp_path / "captions", template=str(template), raw_caption="without"))
    assert list_links(page) == [("0", "<000000000001 1>0.25"), ("1", "<000000000001 2>0.5")]


def test_grounding_captions(tmp_path: Path) -> None:
    annotations = grounding_set(
        write_images(tmp_path, 1),
        tmp_path / "annotations",
        lambda _: [DOG, CAT],
        lambda _: [Tag("dog", 1.0, "image"), Tag("cat", 1.0, "image")],
    )
    _, page = show(grounding_caption_set(annotations, tmp_path / "captions", granularities=[0], raw_caption="without"))
    assert list_links(page) == [("0", "dog (at the top left corner)"), ("1", "cat (at the bottom right corner)")]
    assert [one.attributes["points"] for one in page.find_all("polygon")] == [
        "6.4 9.6 19.2 9.6 19.2 19.2 6.4 19.2",
        "32.0 24.0 57.6 24.0 57.6 43.2 32.0 43.2",
    ]


def test_knowledge_and_conversations(tmp_path: Path) -> None:
    answer = "A <b>dog</b> sleeps."
    annotations = captioned(write_images(tmp_path, 1), tmp_path / "a", {"knowledge": lambda _: written(answer)})
    _, page = show(caption_set(annotations, tmp_path / "knowledge", family="knowledge"))
    texts = {
        one.find_all("h4")[0].read(): one.find_all("p")[0].read() for one in page.find_all("section", class_="text")
    }
    assert texts == {"Alt text": "picture 000000000000", "granularity 0": answer}
    _, page = show(caption_set(annotations, tmp_path / "conversations", family="conversations"))
    turns = page.find_all("section", class_="turn")
    assert [one.attributes["class"] for one in turns] == ["text turn user", "text turn assistant"]
    assert turns[0].find_all("p")[0].read().startswith("<image>\n")
    assert turns[1].find_all("p")[0].read() == answer


def test_captions_of_a_row_that_is_not_shown_and_cannot_be_read() -> None:
    rows = pa.table({"key": ["a", "b"], "captions": ["[]", "[{"]})
    with pytest.raises(ShardloomError, match=r"^b: its captions cannot be read: .*: verify the set$"):
        _draw_charts(rows, FAMILIES.find("ocr"))
