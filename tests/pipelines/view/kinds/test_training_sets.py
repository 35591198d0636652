"""Training shards as a page: captioned images, documents in their order, conversations, mixtures and references."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.mix.run import mix
from pipelines.recipes.mix import MixRecipe
from pipelines.view.options import ViewOptions
from pipelines.view.run import ViewTotals, write_view
from schemas.errors import UsageError
from tests.conftest import jpeg
from tests.pipelines.support.pages import Element, read_page
from tests.pipelines.support.sets import ALONE
from tests.pipelines.support.viewed import make_conversations, make_training


def show(output_set: Path, **options: Any) -> tuple[ViewTotals, Element]:
    page = output_set.parent / "page.html"
    return write_view(str(output_set), str(page), ViewOptions.model_validate(options)), read_page(page.read_bytes())


def find_chart(page: Element, title: str) -> dict[str, str]:
    """The bars of a chart, by name."""
    (chart,) = [one for one in page.find_all("figure", class_="chart") if one.find_all("figcaption")[0].read() == title]
    return {one.find_all("th")[0].read(): one.find_all("td", class_="figure")[0].read() for one in chart.find_all("tr")}


@pytest.mark.parametrize("options", [{}, {"format": "parquet"}, {"by_reference": True}], ids=str)
def test_captioned_images(tmp_path: Path, options: dict[str, Any]) -> None:
    totals, page = show(make_training(tmp_path, **options))
    assert (totals.kind, totals.samples, totals.quarantined, totals.notes) == ("shard", 4, 2, [])
    article = page.find_all("article")[0]
    assert len(article.find_all("img")) == 1
    assert [one.read() for one in article.find_all("title")] == ["000000000001 1 0.25", "000000000001 2 0.50"]
    links = article.find_all("section", class_="group")[0].find_all("span", class_="linked")
    assert [one.read() for one in links][:2] == ['"000000000001 1"', '"000000000001 2"']
    assert find_chart(page, "Samples, by source") == {"blip3-ocr": "4"}
    assert find_chart(page, "Quarantined, by reason") == {"no_caption": "2"}
    assert len(page.find_all("section", class_="dense")[0].find_all("img")) == 2


def test_images_of_a_set_by_reference_that_have_moved(tmp_path: Path) -> None:
    training = make_training(tmp_path, by_reference=True)
    (tmp_path / "images").rename(tmp_path / "moved")
    with pytest.raises(UsageError, match=r"its images were in .*/images, which is not there now: pass --images"):
        show(training)
    totals, page = show(training, images=[f"{tmp_path}/moved"])
    assert (totals.samples, totals.quarantined, totals.notes) == (4, 2, [])
    assert len(page.find_all("img")) == 6, "also what was left out"


def test_a_conversation_turn_by_turn(tmp_path: Path) -> None:
    totals, page = show(make_conversations(tmp_path))
    assert (totals.kind, totals.samples) == ("ingest", 1)
    (article,) = page.find_all("article")
    turns = [
        (one.find_all("h4")[0].read(), one.find_all("p")[0].read())
        for one in article.find_all("section", class_="turn")
    ]
    assert turns == [
        ("system", "Be brief."),
        ("user", "What is"),
        ("user", "this?"),
        ("assistant", "<script>alert(1)</script>"),
    ]
    (blocks,) = article.find_all("div", class_="blocks")
    order = [one.tag for one in blocks.inside]
    assert order == ["section", "section", "figure", "section", "section"], "the image is where it was said"


def test_a_condition_is_on_the_index(tmp_path: Path) -> None:
    training = make_training(tmp_path)
    totals, _ = show(training, where="characters > 60 AND images = 1")
    assert 0 < totals.samples < 4
    with pytest.raises(UsageError, match="there is no column 'width': the columns are key, uid, source, kind, "):
        show(training, where="width > 3")


def test_shares_of_a_mixture_as_asked_and_as_got(tmp_path: Path) -> None:
    sources = {"ocr": [str(make_training(tmp_path))], "talk": [str(make_conversations(tmp_path))]}
    recipe = MixRecipe(sources=sources, weights={"ocr": 3, "talk": 1}, run=ALONE)  # type: ignore[arg-type]
    mix(recipe, str(tmp_path / "mixed"))
    totals, page = show(tmp_path / "mixed")
    assert totals.kind == "mix"
    shares = find_chart(page, "Shares of samples, as asked and as got")
    assert shares["ocr, asked"] == "75.0%"
    assert shares["talk, asked"] == "25.0%"
    assert sum(float(share.rstrip("%")) for name, share in shares.items() if name.endswith("got")) == 100


def test_a_damaged_sample_says_so_and_the_others_stay(tmp_path: Path) -> None:
    training = make_training(tmp_path)
    tar = training / "data/00000000.tar"
    data = bytearray(tar.read_bytes())
    at = data.index(jpeg(1))
    data[at + 200] ^= 1
    tar.write_bytes(data)
    _, page = show(training)
    (damaged,) = [one for one in page.find_all("h4") if one.read().strip() == "damaged"]
    assert damaged is not None
    assert "does not match its index row: verify the set" in page.find_all("article")[0].read()
    assert len(page.find_all("img")) == 5
