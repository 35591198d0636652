"""Engines as flags name them: alone, over a recipe's, and what no engine takes."""

from typing import Any

import pytest

from pipelines.engines.flags import parse_engines, select_stored_engines
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.base import load_recipe
from schemas.errors import UsageError


def recipe_values() -> dict[str, Any]:
    return {
        "input": "x",
        "engines": {
            "ocr": {"engine": "rapidocr", "settings": {"detect_side": 512}, "batch_size": 4},
            "tags": {"engine": "siglip", "settings": {"weights": "siglip", "max_tags": 3}},
            "boxes": {"engine": "grounding_dino", "settings": {"box_threshold": 0.5}},
        },
    }


def laid_over(words: str | None, **flags: Any) -> dict[str, Any]:
    """The engines of the recipe above with these over it, as `shardloom annotate WORDS --recipe` takes them."""
    values = recipe_values()
    engines = parse_engines(words, stored=select_stored_engines(values, words), **flags)
    return load_recipe(AnnotateRecipe, None, values, engines=engines).resolve()["engines"]


def test_words_and_settings() -> None:
    assert parse_engines("ocr,tags:siglip", ["tags=a/b"], "words.txt", allow_download=True) == {
        "ocr": {"engine": "rapidocr"},
        "tags": {
            "engine": "siglip",
            "settings": {"weights": "a/b", "allow_download": True, "vocabulary": "words.txt"},
        },
    }
    assert parse_engines(None) == {}


@pytest.mark.parametrize(
    ("words", "flags", "line"),
    [
        ("tags,boxes", {"allow_download": True}, "--allow-download: pass --weights ENGINE=NAME with it"),
        ("tags", {"weights": ["boxes=x"]}, "--weights boxes=x: boxes is not among the engines"),
        (None, {"weights": ["boxes=x"]}, "--weights boxes=x: boxes is not among the engines"),
        ("ocr", {"vocabulary": "x"}, "--vocabulary: tags is not among the engines"),
        ("tags", {"allow_out_of_vocabulary": True}, "--allow-out-of-vocabulary: boxes is not among the engines"),
        ("ocr", {"weights": ["x"]}, "--weights x: name their engine, for example boxes=x"),
    ],
)
def test_what_no_engine_takes(words: str | None, flags: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_engines(words, **flags)
    assert str(error.value) == line


def test_words_are_all_of_a_recipes_engines() -> None:
    held = recipe_values()["engines"]
    assert list(laid_over("ocr")) == ["ocr"]
    assert laid_over("ocr")["ocr"] == held["ocr"]
    assert laid_over("boxes,tags")["tags"] == held["tags"] | {"batch_size": 16}, "its engine, and not the laptop's"
    assert list(laid_over(None)) == ["ocr", "tags", "boxes"]
    with pytest.raises(UsageError, match=r"^--vocabulary: tags is not among the engines$"):
        laid_over("ocr", vocabulary="x")
    with pytest.raises(UsageError, match=r"^recipe: engines: boxes need tags: annotate tags,boxes$"):
        laid_over("boxes")


def test_another_engine_has_no_settings_of_the_one_before() -> None:
    assert laid_over("tags:caption,boxes")["tags"] == {"engine": "caption", "settings": {}, "batch_size": 16}
    assert laid_over("tags:caption", vocabulary="x")["tags"]["settings"] == {"vocabulary": "x"}
    assert laid_over("tags:siglip", vocabulary="x")["tags"]["settings"] == {
        "weights": "siglip",
        "max_tags": 3,
        "vocabulary": "x",
    }
    assert laid_over(None, weights=["boxes=y"])["boxes"]["settings"] == {"box_threshold": 0.5, "weights": "y"}


def test_engines_that_are_added_leave_the_others() -> None:
    values = recipe_values()
    del values["engines"]["boxes"]
    held = select_stored_engines(values)
    added = load_recipe(AnnotateRecipe, None, values, engines=parse_engines("boxes", ["tags=new"], stored=held)).stages
    assert list(added) == ["ocr", "tags", "boxes"]
    assert added["tags"].settings == {"weights": "new", "max_tags": 3}
    assert added["boxes"].engine == "grounding_dino"


def test_engines_that_are_none_are_left_for_the_recipe_to_refuse() -> None:
    values = {"input": "x", "engines": ["ocr"]}
    with pytest.raises(UsageError, match=r"^recipe: engines: input should be a mapping, not \['ocr'\]$"):
        load_recipe(
            AnnotateRecipe, None, values, engines=parse_engines("ocr", stored=select_stored_engines(values, "ocr"))
        )


def test_captions_by_words() -> None:
    """By their names; `captions` alone is all of the recipe's, or the one that is new."""
    assert parse_engines("captions:endpoint", ["captions=x"]) == {
        "captions": {"dense": {"engine": "endpoint", "settings": {"weights": "x"}}}
    }
    assert parse_engines("captions.short:endpoint,ocr") == {
        "captions": {"short": {"engine": "endpoint"}},
        "ocr": {"engine": "rapidocr"},
    }
    for words, names in (("captions", ["dense", "short"]), ("ocr,captions.short", ["short"]), ("ocr", [])):
        values = recipe_values()
        values["engines"]["captions"] = {name: {"engine": "endpoint"} for name in ("dense", "short")}
        engines = parse_engines(words, stored=select_stored_engines(values, words))
        loaded = load_recipe(AnnotateRecipe, None, values, engines=engines)
        assert list(loaded.engines.captions) == names


@pytest.mark.parametrize(
    ("words", "weights", "line"),
    [
        ("captions:endpoint", None, "there are several captions: name one of captions.dense, captions.short"),
        (None, ["captions=x"], "there are several captions: name one of captions.dense, captions.short"),
        (None, ["captions.long=x"], "--weights captions.long=x: captions.long is not among the engines"),
        (
            "captions.long",
            None,
            "captions have no engine by default: name one of endpoint, transformers.*, or pass a recipe that does",
        ),
        ("ocr.dense", None, "'ocr.dense' is no engine: name engines first, .*"),
    ],
)
def test_captions_that_are_not_clear(words: str | None, weights: list[str] | None, line: str) -> None:
    stored = {"captions": {name: {"engine": "endpoint"} for name in ("dense", "short")}}
    with pytest.raises(UsageError, match=f"^{line}"):
        parse_engines(words, weights, stored=stored)
