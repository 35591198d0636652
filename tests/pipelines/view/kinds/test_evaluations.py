"""An evaluation of a model as a page: scores with intervals, and answers wrong and right beside their pictures."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.view.options import ViewOptions
from pipelines.view.run import ViewTotals, write_view
from schemas.errors import UsageError
from tests.pipelines.support.pages import HOSTILE, Element, read_page
from tests.pipelines.support.viewed import make_evaluation


def show(evaluation: Path, **options: Any) -> tuple[ViewTotals, Element]:
    page = evaluation.parent / "page.html"
    return write_view(str(evaluation), str(page), ViewOptions.model_validate(options)), read_page(page.read_bytes())


def list_cards(page: Element) -> dict[str, list[str]]:
    """The keys of the cards below each heading."""
    return {
        section.find_all("h2", class_="section")[0].read(): [
            card.find_all("h2")[0].read() for card in section.find_all("article")
        ]
        for section in page.find_all("section", class_="cards")
    }


def test_wrong_and_right_answers_with_their_pictures(tmp_path: Path) -> None:
    totals, page = show(make_evaluation(tmp_path, ["dog", "a cat", "Cow.", "the sea"]))
    assert (totals.kind, totals.samples, totals.notes) == ("evaluation", 4, [])
    assert list_cards(page) == {
        "pets-0shot: wrong 2 of 2 by exact_match": ["q1", "q3"],
        "pets-0shot: right 2 of 2 by exact_match": ["q0", "q2"],
    }
    wrong, right = (page.find_all("article")[at] for at in (0, 2))
    assert len(wrong.find_all("img")) == len(right.find_all("img")) == 1
    assert [one.read() for one in wrong.find_all("span", class_="contradicted")] == ["a cat"]
    assert [one.read() for one in right.find_all("span", class_="supported")] == ["dog"]
    assert [one.read() for one in page.find_all("article")[1].find_all("bdi") if "<b>" in one.read()] == ["<b>sea</b>"]


def test_scores_with_their_intervals(tmp_path: Path) -> None:
    _, page = show(make_evaluation(tmp_path, ["dog", "a cat", "Cow.", "the sea"]))
    scores, faults = page.find_all("figure", class_="chart")
    assert scores.find_all("figcaption")[0].read() == "pets-0shot"
    assert scores.find_all("th")[0].read() == "exact_match"
    assert scores.find_all("td", class_="figure")[0].read() == "50.0% [0.0, 100.0]"
    assert scores.find_all("span", class_="bar")[0].attributes["style"] == "width: 50.0%"
    assert scores.find_all("span", class_="whisker")[0].attributes["style"] == "left: 0.0%; width: 100.0%"
    assert [one.read() for one in faults.find_all("th")] == ["lost_image"]


def test_chosen_predictions(tmp_path: Path) -> None:
    evaluation = make_evaluation(tmp_path, ["dog", "a cat", "Cow.", "the sea"])
    assert list_cards(show(evaluation, where="prediction LIKE '%sea'")[1]) == {
        "pets-0shot: wrong 1 of 2 by exact_match": ["q3"]
    }
    assert list(list_cards(show(evaluation, key="q2")[1]).values()) == [["q2"]]
    assert list(list_cards(show(evaluation, sample=2)[1]).values()) == [["q1"], ["q0"]]
    with pytest.raises(UsageError, match="scores has no row with the key or uid 'q9'"):
        show(evaluation, key="q9")


def test_less_is_better(tmp_path: Path) -> None:
    _, page = show(make_evaluation(tmp_path, ["dog", "a cat", "cow", "the sea"], "error_rates"))
    assert list(list_cards(page).values()) == [["q1", "q3"], ["q0", "q2"]]
    assert "less is better" in page.find_all("p", class_="note")[0].read()


def test_boxes_of_answers(tmp_path: Path) -> None:
    evaluation = make_evaluation(tmp_path, ["[0.1, 0.1, 0.5, 0.5]", "none", "", ""], "grounding")
    (card,) = show(evaluation, key="q0")[1].find_all("article")
    assert [one.attributes["class"] for one in card.find_all("polygon")] == ["shape layer-truth", "shape layer-boxes"]
    assert card.find_all("polygon")[0].attributes["points"] == "0.0 0.0 6.4 0.0 6.4 48.0 0.0 48.0"
    assert card.find_all("polygon")[1].attributes["points"] == "6.4 4.8 32.0 4.8 32.0 24.0 6.4 24.0"


def test_questions_that_have_gone(tmp_path: Path) -> None:
    evaluation = make_evaluation(tmp_path, ["dog", "a cat", "Cow.", "the sea"])
    (tmp_path / "more").mkdir()
    for number in range(4):
        (tmp_path / f"{number}.jpg").rename(tmp_path / f"more/{number}.jpg")
    _, page = show(evaluation)
    assert [one.read().strip() for one in page.find_all("figure", class_="absent")] == ["its image was not found"] * 4
    assert page.find_all("img") == []
    assert len(show(evaluation, images=[str(tmp_path / "more")])[1].find_all("img")) == 4
    (tmp_path / "pets.jsonl").unlink()
    totals, page = show(evaluation)
    (note,) = totals.notes
    assert note.startswith("pets: no picture is shown: ")
    assert totals.samples == 4
    with pytest.raises(UsageError, match="--images: the questions' images are in one folder or one tar: pass one"):
        show(evaluation, images=["a", "b"])


def test_hostile_answers_are_shown_as_they_are(tmp_path: Path) -> None:
    for number in range(0, len(HOSTILE) - 3, 4):
        texts = HOSTILE[number : number + 4]
        (folder := tmp_path / str(number)).mkdir()
        _, page = show(make_evaluation(folder, texts))
        assert len(page.find_all("script")) == 1
        assert len(page.find_all("article")) == 4
        assert page.find_all("iframe") == []
