"""Predictions of a model that has learnt nothing: what matters is that every question has its row."""

import copy
from pathlib import Path
from typing import Any

import pytest

from curation.tasks.images import QuestionImages
from curation.tasks.options import TaskOptions
from curation.tasks.predictions import Prediction
from curation.tasks.question import ImageFile, Question
from schemas.errors import UsageError
from schemas.records.quarantine import QuarantinedRow
from tests.conftest import jpeg
from tests.training.support import tiny
from training.checkpoint_model import LoadedModel
from training.evaluation.predict import Predictor
from training.model.config import PromptOptions
from training.model.generate import GenerateOptions, generate
from training.model.lmm import ResamplerLMM
from training.model.tokens import load_tokenizer

LIMIT = tiny.PHI3["max_position_embeddings"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    options = tiny.options(tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer")))
    return LoadedModel(ResamplerLMM.build(options), load_tokenizer(options), PromptOptions(end_of_chunk=True))


def predictor(loaded: LoadedModel, **more: Any) -> Predictor:
    values = {"questions": {"path": "x.jsonl"}, "metric": "multiple_choice", "max_new_tokens": 4}
    task = TaskOptions.model_validate(values | more)
    return Predictor(loaded, task, QuestionImages(task.questions), None)


def question(name: str, text: str = "What?", image: bytes | None = None) -> Question:
    return Question(name, text, (jpeg(1, 64, 48) if image is None else image,), ("B",), ("a cat", "a dog"), "g", "c")


def test_rows_are_those_of_each_question_alone(loaded: LoadedModel) -> None:
    held = predictor(loaded, read_out={"remove": ["e"]})
    asked = [question("1"), question("2", "How many of them are there?"), question("3", "")]
    rows = list(held.predict(asked, 0, batch_size=3))
    assert rows == [one for each in asked for one in held.predict([each], 0, batch_size=1)]
    prompt, _ = held.build_prompt(asked[1], 0)
    said = generate(loaded.model, loaded.tokenizer, prompt, GenerateOptions(max_new_tokens=4))
    assert isinstance(rows[1], Prediction)
    assert (rows[1].generated, rows[1].prediction) == (said, said.strip().replace("e", "").strip())
    assert (rows[1].id, rows[1].answers, rows[1].choices) == ("2", ("B",), ("a cat", "a dog"))
    assert (rows[1].group, rows[1].category, rows[1].demonstrations) == ("g", "c", ())
    assert rows[1].prompt_tokens == tiny.TOKENS_PER_TILE + len(asked[1].text)


def test_beams(loaded: LoadedModel) -> None:
    """Answers are those of a beam search, in a batch as alone."""
    held, asked = predictor(loaded, beams=3), [question("1"), question("2", "How many of them are there?")]
    rows = list(held.predict(asked, 0, batch_size=2))
    prompts = [held.build_prompt(one, 0)[0] for one in asked]
    options = GenerateOptions(max_new_tokens=4, beams=3)
    said = [generate(loaded.model, loaded.tokenizer, prompt, options) for prompt in prompts]
    assert [row.generated for row in rows if isinstance(row, Prediction)] == said
    greedy = list(predictor(loaded).predict(asked, 0, batch_size=2))
    assert said != [row.generated for row in greedy if isinstance(row, Prediction)]


def test_what_can_not_be_asked(loaded: LoadedModel) -> None:
    """An unusable image is quarantined; a prompt that is too long counts as not answered. Others stay."""
    lost = Question("4", "", (ImageFile("none.jpg"),), ("B",), ("a cat", "a dog"))
    asked = [question("1"), question("2", image=b"no image"), question("3", "x" * LIMIT), lost, question("5")]
    rows = list(predictor(loaded).predict(asked, 0, batch_size=8))
    left_out = [row for row in rows if isinstance(row, QuarantinedRow)]
    assert [(row.key, row.stage, row.reason) for row in left_out] == [
        ("2", "predict", "not_an_image"),
        ("4", "predict", "lost_image"),
    ]
    kept = [row for row in rows if isinstance(row, Prediction)]
    assert [row.id for row in kept] == ["1", "3", "5"]
    assert [bool(row.error) for row in kept] == [False, True, False]
    assert kept[1].error.startswith(
        f"generate: a prompt of {LIMIT + tiny.TOKENS_PER_TILE} tokens and 4 new ones exceed"
    )
    assert kept[1].prediction == ""


def test_choices_by_perplexity(loaded: LoadedModel) -> None:
    held = predictor(loaded, answer_by="perplexity")
    (row,) = held.predict([question("1")], 0, batch_size=8)
    assert isinstance(row, Prediction)
    assert len(row.choice_losses) == 2
    assert row.prediction == "AB"[row.choice_losses[1] < row.choice_losses[0]]
    assert (row.generated, row.is_complete) == ("", True)


def test_choices_without_a_perplexity(loaded: LoadedModel) -> None:
    """Choices that are images, and those of a model that has diverged: the first would always be taken."""
    asked = Question("1", "Which?", (jpeg(1), jpeg(2)), ("B",), ("<image>", "<image>"))
    (row,) = predictor(loaded, answer_by="perplexity").predict([asked], 0, batch_size=8)
    assert isinstance(row, Prediction)
    assert (row.prediction, row.error) == (
        "",
        "evaluate: its choices are images, whose perplexity the model does not give",
    )
    other = copy.deepcopy(loaded)
    for weights in other.model.parameters():
        weights.data.fill_(float("nan"))
    (row,) = predictor(other, answer_by="perplexity").predict([question("1")], 0, batch_size=8)
    assert isinstance(row, Prediction)
    assert (row.prediction, row.error) == ("", "evaluate: the model gives a choice no finite loss")


def test_chats_need_a_model_that_knows_them(loaded: LoadedModel) -> None:
    other = LoadedModel(loaded.model, loaded.tokenizer, PromptOptions(template_fault="its template can't be split"))
    with pytest.raises(
        UsageError, match=r"^prompt\.format: this model was trained on no conversations; set it to document$"
    ):
        predictor(other, prompt={"format": "chat"})
    assert isinstance(predictor(other), Predictor)


def test_runs_exports_and_checkpoints(loaded: LoadedModel, tmp_path: Path) -> None:
    from training.evaluation.model_folder import find_model_folder
    from training.model.pretrained import save_pretrained

    with pytest.raises(UsageError, match=r" is no model: pass an export, a checkpoint, or the folder of a run"):
        find_model_folder(str(tmp_path))
    save_pretrained(loaded.model, loaded.tokenizer, tmp_path / "model", prompts=loaded.prompts)
    assert find_model_folder(str(tmp_path)) == find_model_folder(str(tmp_path / "model")) == tmp_path / "model"


def test_a_model_without_a_tower_takes_texts_alone(tmp_path: Path) -> None:
    options = tiny.options(tiny.write_tokenizer(tmp_path), vision=None)
    loaded = LoadedModel(ResamplerLMM.build(options), load_tokenizer(options), PromptOptions())
    held = predictor(loaded)
    (row,) = held.predict([Question("1", "What?", (), ("B",), ("a cat", "a dog"))], 0, batch_size=1)
    assert isinstance(row, Prediction)
    assert (row.prompt_tokens, row.error) == (len("What?"), "")
    with pytest.raises(UsageError, match=r"^evaluate: this model has no vision tower and takes no images; give it"):
        held.build_prompt(question("2"), 0)
