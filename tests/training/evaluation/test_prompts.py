"""Golden prompts at 0, 4 and 8 shots, token for token as training formats documents and conversations."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from curation.tasks.demonstrations import Demonstrations
from curation.tasks.images import QuestionImages
from curation.tasks.options import TaskOptions
from curation.tasks.question import Question
from schemas.errors import UsageError
from tests.conftest import jpeg
from tests.training.support import tiny
from tests.training.support.sets import Size, document
from training.checkpoint_model import LoadedModel
from training.data.markup import Markup
from training.data.options import DataOptions, SourceTextOptions
from training.data.pieces import Piece
from training.data.samples import SampleTokenizer
from training.evaluation.predict import DemonstrationSet, Predictor
from training.model.config import PromptOptions
from training.model.generate import build_prompt_batch
from training.model.lmm import ResamplerLMM
from training.model.tokens import load_tokenizer

GOLDEN = Path(__file__).parent / "support/golden_prompts.json"
SIZE: Size = (64, 48)
IMAGE = "<image>" * tiny.TOKENS_PER_TILE
CHUNK = "<|endofchunk|>"
TRAINING = [Question(f"t{n}", f"Q{n}?", (jpeg(n, *SIZE),), (f"a{n}", "other"), choices=("x", "y")) for n in range(12)]
QUESTION = Question("q", "What?", (jpeg(99, *SIZE),), ("cat",), choices=("a cat", "a dog"))
VQA = {"question": "Question:{question} Short answer:", "answer": "{answer}"}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    options = tiny.options(tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer")))
    return LoadedModel(ResamplerLMM.build(options), load_tokenizer(options), PromptOptions(system="Be brief."))


@pytest.fixture(scope="module")
def any_resolution(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    more = {"any_resolution": {"enabled": True, "grids": [[1, 2], [2, 1], [2, 2]]}}
    options = tiny.options(tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer")), **more)
    return LoadedModel(ResamplerLMM.build(options), load_tokenizer(options), PromptOptions())


def predictor(loaded: LoadedModel, prompt: dict[str, Any], **more: Any) -> Predictor:
    source = {"path": "x.jsonl"}
    values = {
        "questions": source,
        "metric": "multiple_choice",
        "demonstrations": {"questions": source},
        "prompt": prompt,
    }
    task = TaskOptions.model_validate(values | more)
    images = QuestionImages(task.questions)
    return Predictor(loaded, task, images, DemonstrationSet(Demonstrations(TRAINING, 2048, 0), images))


def tokens(loaded: LoadedModel, held: Predictor, shots: int) -> tuple[list[int], list[str]]:
    prompt, demonstrations = held.build_prompt(QUESTION, shots)
    ids: list[int] = build_prompt_batch(loaded.model, loaded.tokenizer, [prompt]).tokens[0].tolist()
    return ids, demonstrations


def text(loaded: LoadedModel, held: Predictor, shots: int) -> str:
    return loaded.tokenizer.decode(tokens(loaded, held, shots)[0])


def numbers(held: Predictor, shots: int) -> Iterator[int]:
    assert held._demonstrations is not None
    drawn = held._demonstrations.drawer.draw("q")
    yield from (int(next(drawn).id[1:]) for _ in range(shots))


@pytest.mark.parametrize("shots", [0, 4, 8])
def test_documents(loaded: LoadedModel, shots: int) -> None:
    held = predictor(loaded, VQA)
    shown = [f"{IMAGE}Question:Q{n}? Short answer:a{n}{CHUNK}" for n in numbers(held, shots)]
    assert text(loaded, held, shots) == "".join(shown) + f"{IMAGE}Question:What? Short answer:"


@pytest.mark.parametrize("shots", [0, 4, 8])
@pytest.mark.parametrize("form", ["document", "chat"])
def test_golden_prompts(loaded: LoadedModel, form: str, shots: int) -> None:
    """To the letter and to the token, with the demonstrations that the seed draws, as they were on 2026-11-30."""
    prompt = VQA if form == "document" else {"format": "chat", "question": "{question}\nAnswer briefly."}
    golden = json.loads(GOLDEN.read_text())[f"{form}-{shots}"]
    held = predictor(loaded, prompt)
    assert text(loaded, held, shots) == "".join(golden["text"])
    ids, demonstrations = tokens(loaded, held, shots)
    assert demonstrations == golden["demonstrations"]
    assert ids == golden["ids"]


@pytest.mark.parametrize("shots", [0, 4, 8])
def test_chats(loaded: LoadedModel, shots: int) -> None:
    held = predictor(loaded, {"format": "chat", "question": "{question}\nAnswer briefly."})
    shown = [
        f"<|user|>\n{IMAGE}\nQ{n}?\nAnswer briefly.<|end|>\n<|assistant|>\na{n}<|end|>\n" for n in numbers(held, shots)
    ]
    asked = f"<|user|>\n{IMAGE}\nWhat?\nAnswer briefly.<|end|>\n<|assistant|>\n"
    assert text(loaded, held, shots) == "<|system|>\nBe brief.<|end|>\n" + "".join(shown) + asked


@pytest.mark.parametrize("form", ["document", "chat"])
def test_prompts_begin_as_training_samples_do(loaded: LoadedModel, form: str) -> None:
    """The same texts and images as a stored sample have the same tokens, up to the answer."""
    held = predictor(loaded, {"format": form, "question": "{question} ", "answer": "{answer}"})
    drawn = list(numbers(held, 4))
    parts: list[str | Size] = []
    for n in drawn:
        parts += [SIZE, f"Q{n}? a{n}"] if form == "document" else [SIZE, f"Q{n}?", f"a{n}"]
    parts += [SIZE, "What? cat"] if form == "document" else [SIZE, "What?", "cat"]
    roles = None if form == "document" else ["user", "user", "assistant"] * 5
    stored = document(1, parts, roles)  # type: ignore[arg-type]
    options = DataOptions.model_validate({"sources": {"a": "x"}, "weights": {"a": 1}, "system_prompt": "Be brief."})
    markup = Markup.from_tokenizer(loaded.tokenizer, options, tiny.TOKENS_PER_TILE)
    segment = SampleTokenizer(loaded.tokenizer, markup, 0).tokenize(stored, SourceTextOptions(), Piece(), [1] * 5)
    assert segment is not None
    ids, demonstrations = tokens(loaded, held, 4)
    assert demonstrations == [f"t{n}" for n in drawn]
    assert segment.ids[: len(ids)] == ids
    assert loaded.tokenizer.decode(segment.ids[len(ids) :]).startswith("cat<|end")


def test_only_the_first_turn_is_an_instruction(loaded: LoadedModel) -> None:
    prompt, _ = predictor(loaded, {"format": "chat"}).build_prompt(QUESTION, 1)
    batch = build_prompt_batch(loaded.model, loaded.tokenizer, [prompt])
    (n,) = numbers(predictor(loaded, {"format": "chat"}), 1)
    assert loaded.tokenizer.decode(batch.tokens[batch.instructions].tolist()) == f"Q{n}?"


def test_text_only_demonstrations_of_a_0_shot_prompt(loaded: LoadedModel) -> None:
    held = predictor(loaded, VQA | {"text_only_shots": 2})
    first, second = (f"Question:Q{n}? Short answer:a{n}" for n in numbers(held, 2))
    assert text(loaded, held, 0) == f"{first}\n{second}{IMAGE}Question:What? Short answer:"
    assert text(loaded, held, 4) == text(loaded, predictor(loaded, VQA), 4)


def test_demonstrations_of_unusable_images_are_passed_over(loaded: LoadedModel) -> None:
    held = predictor(loaded, VQA)
    first, *others = numbers(held, 5)
    assert held._demonstrations is not None
    pool = held._demonstrations.drawer.pool
    pool[:] = [replace(one, images=(b"no image",)) if one.id == f"t{first}" else one for one in pool]
    assert tokens(loaded, held, 4)[1] == [f"t{n}" for n in others]
    assert held.lost_demonstrations == {f"t{first}"}
    with pytest.raises(
        UsageError, match=r"^demonstrations: 11 can be used; 12 shots need more questions to draw from$"
    ):
        held.build_prompt(QUESTION, 12)


@pytest.mark.parametrize(("full", "thumbnails"), [(None, 0), (8, 0), (3, 1), (1, 3), (0, 4)])
def test_mixed_resolution(any_resolution: LoadedModel, full: int | None, thumbnails: int) -> None:
    """The first demonstrations take one tile each, as their thumbnails; the last, and the question, the whole grid."""
    source = {"questions": {"path": "x.jsonl"}, "full_resolution": full}
    held = predictor(any_resolution, VQA, demonstrations=source)
    prompt, _ = held.build_prompt(QUESTION, 4)
    batch = build_prompt_batch(any_resolution.model, any_resolution.tokenizer, [prompt])
    whole_grid = [2, 1]  # columns and rows for a picture of 64 x 48 pixels and tiles of 56
    assert batch.grids.tolist() == [[0, 0]] * thumbnails + [whole_grid] * (5 - thumbnails)
    assert int((batch.tokens == tiny.IMAGE).sum()) == tiny.TOKENS_PER_TILE * (3 * 5 - 2 * thumbnails)
    without, _ = predictor(any_resolution, VQA).build_prompt(QUESTION, 4)
    all_tiles = build_prompt_batch(any_resolution.model, any_resolution.tokenizer, [without]).tiles
    assert torch.equal(batch.tiles[:thumbnails], all_tiles[: 3 * thumbnails : 3])
    assert torch.equal(batch.tiles[thumbnails:], all_tiles[3 * thumbnails :])
    logits = any_resolution.model(batch)
    assert bool(logits.isfinite().all())


def test_one_tile_has_no_lower_resolution(loaded: LoadedModel) -> None:
    source = {"questions": {"path": "x.jsonl"}, "full_resolution": 2}
    with pytest.raises(UsageError, match=r"^demonstrations\.full_resolution: this model sees each image in one tile, "):
        predictor(loaded, VQA, demonstrations=source)
