"""Verdicts of a server that answers by what a prompt says, from the task file to the scores."""

import json
from pathlib import Path
from typing import Any

import pytest

from curation.scores.bootstrap import UNKNOWN
from curation.tasks.judge_options import JudgeOptions
from curation.tasks.predictions import Prediction, Predictions, read_predictions
from pipelines.cli.app import main
from pipelines.evaluate.judge import Judge, check_address
from pipelines.evaluate.model_scores import read_all_predictions, score_predictions
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.recipe_file import dump_yaml
from schemas.storage.folder import Folder
from tests.support.caption_server import CaptionServer, running_server
from tests.training.support import tiny
from training.model.config import PromptOptions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import save_pretrained
from training.model.tokens import load_tokenizer

PROMPT = "Question: {question}\n{choices}\nTruth: {answer} ({answers})\nAnswer: {prediction}\nYour score:"
VERDICTS = {"a cat": "1.0", "a dog": "Score: 0.5", "snow": "between 0.1 and 0.3"}


def judge_text(_: str, prompt: str) -> str:
    """The verdict on the answer that a prompt shows; that it is wrong on any other."""
    return VERDICTS.get(prompt.partition("Answer: ")[2].partition("\n")[0], "0")


def meet(prompt: str) -> str:
    return "bad" if "Answer: fire" in prompt else "refused" if "Answer: mud" in prompt else "ok"


def settings(server: CaptionServer, **more: Any) -> dict[str, Any]:
    return {"model": "m", "base_url": server.url, **more}


def options(server: CaptionServer, more: dict[str, Any] | None = None, **changes: Any) -> JudgeOptions:
    values = {"settings": settings(server, **more or {}), "prompt": PROMPT, "allow_hosts": ["127.0.0.1"]}
    return JudgeOptions.model_validate(values | changes)


def row(name: str, prediction: str, **more: Any) -> Prediction:
    return Prediction(name, "What is it?", ("a cat", "cat"), (), "", "", (), prediction=prediction, **more)


ROWS = [
    row("1", "a cat"),
    row("2", "a dog"),
    row("3", "snow"),
    row("4", "fire"),
    row("5", "mud"),
    row("6", "", error="too long"),
    row("7", "nothing"),
]


def test_every_answer_has_its_verdict_or_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    with running_server(write=judge_text, choose_by_prompt=meet, key="sk-secret") as server:
        judged = Judge("mmvet", options(server, {"key_variable": "JUDGE_KEY"})).judge(ROWS)
        asked = [prompt for _, prompt in server.asked]
    assert [(one.id, one.verdict, one.verdict_score, one.judge_error) for one in judged] == [
        ("1", "1.0", 1.0, ""),
        ("2", "Score: 0.5", 0.5, ""),
        ("3", "between 0.1 and 0.3", None, "not one number from 0 to 1"),
        ("4", "", None, "HTTP 400: no such image for Bearer ***"),
        ("5", "", None, "the judge refused"),
        ("6", "", 0.0, ""),
        ("7", "0", 0.0, ""),
    ]
    assert [one.judge for one in judged] == ["m"] * 5 + ["", "m"]
    assert [one.prediction for one in judged] == [one.prediction for one in ROWS]
    assert len(asked) == 6
    assert "Question: What is it?\n\nTruth: a cat (a cat\ncat)\nAnswer: a cat\nYour score:" in asked


def test_labels() -> None:
    with running_server(write=lambda _, __: "Correct.") as server:
        judged = Judge("t", options(server, labels={"correct": 1, "incorrect": 0})).judge(ROWS[:1])
        failed = Judge("t", options(server, labels={"right": 1})).judge(ROWS[:1])
    assert (judged[0].verdict, judged[0].verdict_score) == ("Correct.", 1.0)
    assert (failed[0].verdict_score, failed[0].judge_error) == (None, "its first word is no label")


def test_a_judge_that_reads_an_answer_out() -> None:
    """The metric then scores what it has read; what it could not read is in no figure."""
    with running_server(write=lambda _, __: " cat \n", choose_by_prompt=meet) as server:
        asked = options(server, gives="answer")
        judged = Judge("t", asked).judge([row("1", "It is a cat, I think", generated="It is"), ROWS[3], ROWS[5]])
    assert [(one.prediction, one.verdict, one.verdict_score) for one in judged] == [
        ("cat", "cat", None),
        ("fire", "", None),
        ("", "", None),
    ]
    about = {"model": "x", "options": {"demonstrations": None, "judge": asked.model_dump(mode="json")}}
    (score,) = score_predictions([Predictions("t", 0, "exact_match", about, judged)]).tasks
    assert (score.scored_by, score.figures["exact_match"].value) == ("judge m", 0.5)
    assert score.without_verdict == {"HTTP 400: no such image for Bearer none": 1}
    assert list(score.figures) == ["exact_match"]


def test_where_a_server_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_server() as server:
        with pytest.raises(
            UsageError,
            match=r"^t: judge: base_url leads to the loopback address 127\.0\.0\.1: list 127\.0\.0\.1 in judge\.",
        ):
            Judge("t", options(server, allow_hosts=[]))
        assert server.headers == []
    for url, kind in (("http://169.254.169.254/v1", "link-local"), ("http://[::1]/v1", "loopback")):
        with pytest.raises(UsageError, match=rf"^base_url leads to the {kind} address "):
            check_address(url, ["localhost"])
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("8.8.8.8", 0))])
    check_address("https://judge.example/v1", [])
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("10.0.0.7", 0))])
    check_address("https://Judge.example/v1", ["judge.example"])
    with pytest.raises(UsageError, match=r"^base_url leads to the private address 10\.0\.0\.7: list judge\.example in"):
        check_address("https://judge.example/v1", [])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"base_url": None}, "t: judge: endpoint: no server: set base_url in judge.settings, such as http://local"),
        ({"model": ""}, "t: judge: endpoint: no model: set model in judge.settings, to a name that the server knows"),
        ({"key_variable": "NO_SUCH_KEY"}, "t: judge: endpoint: the environment variable NO_SUCH_KEY is not set: "),
        ({"model": "other"}, "t: judge: endpoint: "),
    ],
)
def test_wrong_settings_are_one_line(more: dict[str, Any], message: str) -> None:
    with running_server(key="sk") as server, pytest.raises(UsageError) as found:
        Judge("t", options(server, more))
    assert str(found.value).startswith(message)
    assert "\n" not in str(found.value)


def test_a_server_that_is_lost() -> None:
    with running_server(write=judge_text) as server:
        judge = Judge("t", options(server, {"patience_seconds": 0}))
    with pytest.raises(ShardloomError) as found:
        judge.judge(ROWS)
    assert str(found.value) == (
        f"t: judge: endpoint: {server.url} was not reached for 0 s (connection refused); the answers are kept without "
        "verdicts: correct judge.settings, and evaluate again with a new --output"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that has learnt nothing, and three questions without images."""
    place = tmp_path_factory.mktemp("judged")
    made = tiny.options(tiny.write_tokenizer(place / "tokenizer"))
    save_pretrained(ResamplerLMM.build(made), load_tokenizer(made), place / "model", prompts=PromptOptions())
    rows = [{"id": f"{n}", "question": "What?", "answers": ["a cat"]} for n in range(3)]
    (place / "task.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return place


def evaluate(folder: Path, judge: dict[str, Any], output: Path) -> int:
    """Evaluates the task with this judge; the exit code."""
    task = {"questions": {"path": "task.jsonl"}, "metric": "exact_match", "max_new_tokens": 2, "judge": judge}
    (folder / "task.yaml").write_bytes(dump_yaml(task))
    with pytest.raises(SystemExit) as done:
        main(["evaluate", "model", f"{folder}/model", "-t", f"{folder}/task.yaml", "-o", str(output), "--device=cpu"])
    assert isinstance(done.value.code, int)
    return done.value.code


def test_from_the_task_file_to_the_scores(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = iter(("0.5", "0.2", "perhaps"))
    with running_server(write=lambda _, __: next(verdicts)) as server:
        judge = {"settings": settings(server, in_flight=1), "prompt": PROMPT, "allow_hosts": ["127.0.0.1"]}
        assert evaluate(folder, judge, tmp_path / "out") == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "task judged 0 3 35.0" in words
    assert "task exact_match 0 3 0.0" in words
    assert "task-0shot: scored by the judge m, 3 answers cut by max_new_tokens, 1 without a verdict: not" in words
    rows = read_predictions(Folder(f"{tmp_path}/out/predictions"), "task-0shot.parquet").rows
    assert [(one.judge, one.verdict_score) for one in rows] == [("m", 0.5), ("m", 0.2), ("m", None)]
    (again,) = score_predictions(read_all_predictions(f"{tmp_path}/out")).tasks
    stored = json.loads((tmp_path / "out/scores.json").read_text())["tasks"][0]
    assert stored["figures"]["judged"]["value"] == again.figures["judged"].value == pytest.approx(0.35)
    assert stored["scored_by"] == "judge m"
    assert stored["without_verdict"] == {"not one number from 0 to 1": 1}


def test_answers_are_kept_when_the_judge_is_lost(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is silently zero: the figure has no value, and each answer is counted."""
    with running_server(write=judge_text) as server:
        pass
    more = {"check_server": False, "patience_seconds": 0}
    judge = {"settings": settings(server, **more), "prompt": PROMPT, "allow_hosts": ["127.0.0.1"]}
    assert evaluate(folder, judge, tmp_path / "out") == 1
    assert "the answers are kept without verdicts" in capsys.readouterr().err
    (score,) = score_predictions(read_all_predictions(f"{tmp_path}/out")).tasks
    assert score.figures["judged"] == UNKNOWN
    assert score.without_verdict == {"not asked": 3}


def test_models_are_compared_on_what_both_have_a_verdict_of() -> None:
    about = {"model": "x", "options": {"demonstrations": None, "judge": {"settings": {"model": "m"}, "gives": "score"}}}
    scores = ((1.0, 0.5, None), (0.5, None, 1.0))
    ours, theirs = (
        Predictions(
            *("t", 0, "exact_match", about),
            [
                row(f"{n}", "a cat", judge="m", verdict_score=score, judge_error="" if score is not None else "no")
                for n, score in enumerate(of_model)
            ],
        )
        for of_model in scores
    )
    (found,) = score_predictions([ours], [theirs]).tasks
    assert found.differences is not None
    assert (found.differences["judged"].value, found.differences["exact_match"].value) == (0.5, 0.0)
    other = Predictions("t", 0, "exact_match", {"model": "x", "options": {"demonstrations": None}}, ours.rows)
    with pytest.raises(
        UsageError, match=r"^--against: it has no predictions of t-0shot that are scored by exact_match a"
    ):
        score_predictions([ours], [other])
