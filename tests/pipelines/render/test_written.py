"""Captions that models wrote, rendered from their column: as KALE has them, as conversations, and under places."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.recipes.render import RenderRecipe
from pipelines.render.run import preview_record, render_set
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.blip3_grounding import parse_captions
from schemas.records.box import Detection, detection_to_arrow
from schemas.records.tag import Tag, tag_to_arrow
from schemas.records.text_line import line_to_arrow
from tests.conftest import jpeg
from tests.pipelines.support.captions import captioned, written
from tests.pipelines.support.published import take_in
from tests.pipelines.support.sets import ALONE, caption_set, in_process, join, line, read_tars, rows, write_samples

DOG = detection_to_arrow(Detection("dog", "dog", (0.25, 0.25, 0.75, 0.75), 0.75))
TAGS = [tag_to_arrow(Tag(name, 1.0, "image")) for name in ("dog", "cat")]
KNOWLEDGE = {
    "0": written("Rex, a dog, sits. The alt text says so."),
    "1": written("A cat sleeps. A dog"),
    "2": written("A dog beg", "truncated", "length"),
    "3": written("", "refused"),
    "4": None,
    "5": written("The alt text names a dog."),
    "6": written("A dog runs."),
}
REASONS = {"2": "caption_truncated", "3": "caption_refused", "4": "engine_error"}


def url_of(key: str) -> str | None:
    return None if key == "6" else f"https://example.org/{key}.jpg"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    samples = [
        (key, jpeg(int(key)), f"Alt {key}", {"uid": f"{int(key):032x}", "url": url_of(key)}) for key in KNOWLEDGE
    ]
    return write_samples(tmp_path_factory.mktemp("images") / "0.tar", samples)


@pytest.fixture(scope="module")
def annotations(images: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dog and the line EXIT in each image, asked for a cat as well; OCR fails on image 1."""
    found: dict[str, Callable[[str], Any]] = {
        "ocr": lambda key: None if key == "1" else [line_to_arrow(line("EXIT"))],
        "tags": lambda _: TAGS,
        "boxes": lambda _: [DOG],
    }
    captions = {"dense": lambda key: written(f"Dense {key}") if key != "1" else None, "knowledge": KNOWLEDGE.get}
    return captioned(images, tmp_path_factory.mktemp("set") / "set", captions, found)


@pytest.fixture(scope="module")
def phrases(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("phrases") / "phrases.txt"
    path.write_text("alt text\n")
    return str(path)


def render(annotations: Path, output: Path, family: str = "knowledge", **options: Any) -> dict[str, dict[str, Any]]:
    """The rows of a rendered set by key."""
    return {row["key"]: row for row in rows(caption_set(annotations, output, family=family, **options))}


def reasons(output: Path) -> dict[str, str]:
    return {row["key"]: row["reason"] for row in rows(output, "quarantine")}


def test_the_layout_of_kale(annotations: Path, tmp_path: Path) -> None:
    found = render(annotations, tmp_path / "out")
    assert found["0"] == {
        "uid": f"{0:032x}",
        "url": "https://example.org/0.jpg",
        "key": "0",
        "sha256": found["0"]["sha256"],
        "width": 64,
        "height": 48,
        "alt_text": "Alt 0",
        "cogvlm_caption": "Dense 0",
        "caption": "Rex, a dog, sits. The alt text says so.",
    }
    assert found["1"]["cogvlm_caption"] is None, "its engine failed"
    assert list(found) == ["0", "1", "5", "6"]
    assert reasons(tmp_path / "out") == REASONS
    details = {row["key"]: row["detail"] for row in rows(tmp_path / "out", "quarantine")}
    assert details == {
        "2": "knowledge: length",
        "3": "knowledge: stop",
        "4": "captions.knowledge: ValueError: no luck",
    }
    metadata = pq.read_schema(tmp_path / "out/data/0.parquet").metadata
    assert (metadata[b"layout_version"], metadata[b"base_caption"]) == (b"1", b"knowledge")
    dense = render(annotations, tmp_path / "dense", caption_name="dense", dense_name=None)
    assert {key: (row["caption"], row["cogvlm_caption"]) for key, row in dense.items()} == {
        key: (f"Dense {key}", None) for key in KNOWLEDGE if key != "1"
    }


def test_sentences_are_dropped_and_samples_stay(annotations: Path, phrases: str, tmp_path: Path) -> None:
    recipe = RenderRecipe(family="knowledge", input=str(annotations), run=ALONE, leak_phrases=phrases)
    totals = render_set(recipe, str(tmp_path / "out"))
    texts = {row["key"]: row["caption"] for row in rows(tmp_path / "out")}
    assert texts == {"0": "Rex, a dog, sits.", "1": "A cat sleeps. A dog", "6": "A dog runs."}
    assert totals.counts == {
        "captions": 3,
        "sentences": 6,
        "sentences_leaking": 2,
        "captions_shortened": 1,
        "captions_emptied": 1,
    }
    assert reasons(tmp_path / "out") == REASONS | {"5": "no_caption"}
    both = recipe.replace_options(drop_contradicted=True)
    totals = render_set(both, str(tmp_path / "both"))
    texts = {row["key"]: row["caption"] for row in rows(tmp_path / "both")}
    assert texts == {"0": "Rex, a dog, sits.", "1": "A dog", "6": "A dog runs."}
    assert (totals.counts["sentences_leaking"], totals.counts["sentences_dropped"]) == (2, 1)
    assert [caption.text for caption in preview_record(both, "1")] == ["A dog"]


def test_a_changed_file_of_phrases_is_another_set(annotations: Path, tmp_path: Path) -> None:
    (tmp_path / "phrases.txt").write_text("alt text")
    (tmp_path / "prompt.txt").write_text("Tell me {dense} in these very words of mine")
    files = {"leak_phrases": str(tmp_path / "phrases.txt"), "leak_prompts": [str(tmp_path / "prompt.txt")]}
    caption_set(annotations, tmp_path / "out", family="knowledge", **files)
    (tmp_path / "prompt.txt").write_text("Tell me")
    with pytest.raises(UsageError, match="the phrases of leaks have changed"):
        caption_set(annotations, tmp_path / "out", family="knowledge", **files)


def test_ingest_reads_it_back(annotations: Path, images: str, tmp_path: Path) -> None:
    found = render(annotations, tmp_path / "out")
    take_in("kale", f"{tmp_path}/out/data/*.parquet", tmp_path / "sets", images, format="parquet")
    [*read] = rows(tmp_path / "sets")
    assert {row["uid"]: (row["url"], row["text"], row["alt_text"]) for row in read} == {
        row["uid"]: (row["url"], row["caption"], row["alt_text"]) for row in found.values() if row["url"]
    }
    first = next(row for row in read if row["uid"] == f"{0:032x}")
    assert json.loads(first["metadata"]) == {
        name: found["0"][name] for name in ("key", "sha256", "width", "height", "cogvlm_caption")
    }


def test_shard_joins_it_with_the_images(annotations: Path, images: str, tmp_path: Path) -> None:
    found = render(annotations, tmp_path / "out")
    join(images, tmp_path / "out", tmp_path / "shards", format="webdataset")
    samples = read_tars(tmp_path / "shards").values()
    texts = {json.loads(sample["json"])["source_key"]: sample["txt"].decode() for sample in samples}
    assert texts == {key: row["caption"] for key, row in found.items()}
    details = json.loads(next(iter(samples))["json"])
    assert json.loads(details["captions"]) == [
        {"text": texts["0"], "granularity": 0, "include_datacomp_raw_cap": False}
    ]


def test_places_go_into_a_caption_of_the_pass(annotations: Path, images: str, phrases: str, tmp_path: Path) -> None:
    """As into the same captions joined from a set of their own; training takes them without the alt text."""
    options = {"leak_phrases": phrases, "drop_contradicted": True}
    render(annotations, tmp_path / "kale")
    joined = render(
        annotations, tmp_path / "joined", "grounding", caption_from=f"{tmp_path}/kale/data/*.parquet", **options
    )
    own = render(annotations, tmp_path / "own", "grounding", caption_name="knowledge", **options)
    assert own == joined
    assert {key: row["cogvlm_caption"] for key, row in own.items()} == {
        "0": "Rex, a dog, sits.",
        "1": "A dog",
        "5": "",
        "6": "A dog runs.",
    }
    assert parse_captions(own["0"]["captions"])[0].text == "Rex, a dog (in the center), sits."
    assert reasons(tmp_path / "own") == REASONS
    assert set(reasons(tmp_path / "joined").values()) == {"no_caption"}
    metadata = pq.read_schema(tmp_path / "own/data/0.parquet").metadata
    assert metadata[b"base_caption"] == b"knowledge"
    join(images, tmp_path / "own", tmp_path / "shards")
    texts = {
        json.loads(sample["json"])["source_key"]: sample["txt"].decode()
        for sample in read_tars(tmp_path / "shards").values()
    }
    assert texts["0"] == "Rex, a dog (in the center), sits."


PROMPT = "Say what you see.\nText: {ocr_boxes}\nThings: {boxes}\nPage: {alt_text}\n"
ASKED = "<image>\nSay what you see.\nText: EXIT [250, 250, 749, 749]\nThings: dog [250, 250, 749, 749]\nPage: Alt 0"


@pytest.fixture
def prompt(tmp_path: Path) -> str:
    (tmp_path / "prompt.txt").write_text(PROMPT)
    return str(tmp_path / "prompt.txt")


def test_conversations(annotations: Path, images: str, prompt: str, tmp_path: Path) -> None:
    """An image without OCR's lines, which the prompt names, is left out, and so is one without a URL."""
    options = {"prompt": prompt, "family": "conversations"}
    caption_set(annotations, tmp_path / "out", **options)
    found = rows(tmp_path / "out")
    assert [row["key"] for row in found] == ["0", "5"]
    assert found[0] == {
        "id": f"{0:032x}",
        "image": "https://example.org/0.jpg",
        "key": "0",
        "sha256": found[0]["sha256"],
        "conversations": [
            {"from": "human", "value": ASKED},
            {"from": "gpt", "value": "Rex, a dog, sits. The alt text says so."},
        ],
    }
    assert reasons(tmp_path / "out") == REASONS | {"1": "engine_error", "6": "missing_url"}
    take_in("llava", f"{tmp_path}/out/data/*.parquet", tmp_path / "sets", images, format="parquet")
    [first, _] = rows(tmp_path / "sets")
    assert first["roles"] == ["user", "user", "assistant"]
    assert first["texts"] == [None, ASKED.removeprefix("<image>\n"), "Rex, a dog, sits. The alt text says so."]
    assert first["images"][0]["bytes"] == jpeg(0)
    text = preview_record(RenderRecipe(input=str(annotations), run=ALONE, **options), "0")[0].text
    assert text == f"{ASKED}\nRex, a dog, sits. The alt text says so."


def test_conversations_are_no_captions(annotations: Path, images: str, prompt: str, tmp_path: Path) -> None:
    caption_set(annotations, tmp_path / "out", family="conversations", prompt=prompt)
    with pytest.raises(UsageError, match=r"out holds conversations, no captions: `shardloom ingest llava` reads it$"):
        join(images, tmp_path / "out", tmp_path / "shards")


def test_a_changed_prompt_is_another_set(annotations: Path, prompt: str, tmp_path: Path) -> None:
    caption_set(annotations, tmp_path / "out", family="conversations", prompt=prompt)
    Path(prompt).write_text("{tags}")
    with pytest.raises(UsageError, match="the prompt has changed"):
        caption_set(annotations, tmp_path / "out", family="conversations", prompt=prompt)


def test_the_commands(annotations: Path, prompt: str, phrases: str, tmp_path: Path) -> None:
    words: list[object] = ["render", "conversations", annotations, "--prompt", prompt, "--caption-name", "dense"]
    words += ["--leak-phrases", phrases, "--leak-prompt", prompt, "--drop-contradicted", "-o", tmp_path / "out"]
    done = in_process(*words)
    assert done.returncode == 0, done.stderr
    stored = (tmp_path / "out/recipe.yaml").read_text()
    for text in (f"prompt: {prompt}", "caption_name: dense", f"leak_phrases: {phrases}", f"leak_prompts:\n- {prompt}"):
        assert f"{text}\n" in stored
    assert [row["conversations"][1]["value"] for row in rows(tmp_path / "out")] == [
        f"Dense {key}" for key in ("0", "2", "3", "4", "5")
    ]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (
            {"family": "knowledge", "caption_name": "long"},
            "has no caption 'long': set caption_name to one of dense.*",
        ),
        (
            {"family": "grounding", "caption_name": "dense", "caption_from": "x"},
            "caption_from and caption_name: the captions come from files or from the pass, not from both",
        ),
        ({"family": "grounding", "leak_phrases": "x"}, "leak_phrases: the alt text is kept as it is: .*"),
        ({"family": "knowledge", "leak_phrases": "no.txt"}, "cannot read leak_phrases no.txt: No such file or .*"),
        ({"family": "conversations", "prompt": "no.txt"}, "cannot read prompt no.txt: No such file or directory"),
    ],
)
def test_wrong_options(annotations: Path, options: dict[str, Any], fault: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{fault}$"):
        caption_set(annotations, tmp_path / "out", **options)


def test_what_the_prompt_names_must_be_in_the_set(images: str, prompt: str, tmp_path: Path) -> None:
    made = captioned(images, tmp_path / "set", {"knowledge": KNOWLEDGE.get}, {"ocr": lambda _: []})
    with pytest.raises(UsageError, match=r"set was annotated without boxes: run annotate boxes$"):
        caption_set(made, tmp_path / "out", family="conversations", prompt=prompt)
    Path(prompt).write_text("{dense}")
    with pytest.raises(UsageError, match=r"prompt\.txt: unknown field \{dense\}: use one of alt_text, .*"):
        caption_set(made, tmp_path / "out", family="conversations", prompt=prompt)
    with pytest.raises(ShardloomError, match=r"set: 4 gets no captions: engine_error: captions\.knowledge: .* no luck"):
        preview_record(RenderRecipe(family="knowledge", input=str(made), run=ALONE), "4")
