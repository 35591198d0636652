"""Asks a language model for its verdicts on a task's answers, where the task file names one: `judge`.

The server's name must not lead to this machine or a private network unless the task file allows it by name: task files
are passed on. A verdict that can't be had or read is a failure, which is counted and takes part in no figure.
"""

import socket
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from curation.engines.captions.endpoint import ask_server, check_server
from curation.engines.kinds import CaptionAnswer, CaptionRequest, EngineUnusable
from curation.format_strings import parse_format
from curation.scores.answers.choice import LETTERS
from curation.scores.answers.verdicts import read_verdict
from curation.tasks.judge_options import JUDGE_FIELDS, MAX_CHARACTERS, JudgeOptions
from curation.tasks.predictions import Prediction
from pipelines.img2dataset.runner import find_refusal
from pipelines.terminal.progress import Progress
from schemas.errors import ShardloomError, UsageError
from schemas.extras import require_extra
from schemas.log import LOG

ROWS_AT_ONCE = 256  # whose verdicts are asked for together, as many at a time as `in_flight` says


class Judge:
    """Holds the connection to the judge of one task."""

    def __init__(self, task: str, options: JudgeOptions) -> None:
        """Checks the settings and the address, and asks the server once. Raises `UsageError`."""
        self._task, self._options = task, options
        require_extra("captions", f"{task}: judge")
        try:
            check_server(options.settings)
            check_address(str(options.settings.base_url), options.allow_hosts)
            for notice in ask_server(options.settings):
                LOG.warning(f"{task}: judge: {notice}")
        except UsageError as error:
            raise UsageError(f"{task}: judge: {_name_settings(str(error))}") from None
        from curation.engines.captions.runtime.endpoint import Endpoint

        self._engine = Endpoint(options.settings)
        self._prompt = parse_format(options.prompt, JUDGE_FIELDS, MAX_CHARACTERS)

    def judge(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Returns the rows with their verdicts. Questions that the model could not take are wrong without being asked.

        Raises `ShardloomError` where no verdict can be had, as without a server or a valid key.
        """
        judged: list[Prediction] = []
        with Progress(f"evaluate {self._task}: verdicts", len(rows), "answers") as progress:
            for start in range(0, len(rows), ROWS_AT_ONCE):
                judged += self._judge(rows[start : start + ROWS_AT_ONCE])
                progress.items = len(judged)
                progress.advance(len(judged) - start)
        return judged

    def _judge(self, rows: Sequence[Prediction]) -> list[Prediction]:
        requests = [CaptionRequest(row.id, self._fill(row), None) for row in rows if not row.error]
        try:
            answers = {answer.id: answer for answer in self._engine.annotate(requests)}
        except EngineUnusable as error:
            found = str(error).partition(": see the server")[0]
            raise ShardloomError(
                f"{self._task}: judge: {found}; the answers are kept without verdicts: correct judge.settings, and "
                "evaluate again with a new --output"
            ) from None
        return [self._read(row, answers.get(row.id)) for row in rows]

    def _fill(self, row: Prediction) -> str:
        values = {
            "question": row.question,
            "choices": "\n".join(f"{letter}. {one}" for letter, one in zip(LETTERS, row.choices, strict=False)),
            "answer": row.answers[0] if row.answers else "",
            "answers": "\n".join(row.answers),
            "prediction": row.prediction,
        }
        return "".join(piece.literal + (values[piece.field] if piece.field else "") for piece in self._prompt)

    def _read(self, row: Prediction, answer: CaptionAnswer | None) -> Prediction:
        options, gives_score = self._options, self._options.gives == "score"
        if answer is None:
            return replace(row, verdict_score=0.0 if gives_score else None)
        row = replace(row, judge=options.settings.model, verdict=answer.text)
        if answer.status in ("error", "refused"):
            return replace(row, judge_error=answer.detail or "the judge refused")
        if not gives_score:
            return replace(row, prediction=answer.text.strip())
        score = read_verdict(answer.text, options.labels)
        fault = "its first word is no label" if options.labels else "not one number from 0 to 1"
        return replace(row, verdict_score=score, judge_error="" if score is not None else fault)


def check_address(url: str, allowed: Sequence[str]) -> None:
    """Raises `UsageError` for a server whose name leads to this machine or a private network and is not allowed."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host in {name.lower().rstrip(".") for name in allowed}:
        return
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        raise UsageError(f"the name {host} of base_url is not known: correct judge.settings.base_url") from None
    for address in sorted(addresses):
        if refusal := find_refusal(address):
            raise UsageError(
                f"base_url leads to the {refusal} address {address}: list {host} in judge.allow_hosts if that is meant"
            )


def _name_settings(message: str) -> str:
    """Returns a message of the engine with the settings' place in a task file."""
    return message.replace("run.settings", "judge.settings").replace("the engine's settings", "judge.settings")
