"""Eight ranks that build one model hold little more than their shares of it, even while they do."""

import json
from pathlib import Path

import pytest

from tests.training.support import runs, tiny
from tests.training.support.shard_memory import LANGUAGE
from training.model.pretrained import build_model, save_pretrained
from training.model.tokens import load_tokenizer

RANKS = 8
SCRIPT = Path(runs.__file__).parent / "shard_memory.py"


@pytest.mark.slow
@pytest.mark.parametrize("start", ["new weights", "an export"])
def test_eight_ranks(start: str, tokenizer: Path, tmp_path: Path) -> None:
    """The peak of each rank above its memory before it began is below twice its share."""
    export = ""
    if start == "an export":
        options = tiny.options(tokenizer, language={"config": LANGUAGE})
        save_pretrained(build_model(options), load_tokenizer(options), export := str(tmp_path / "export"))
    ran = runs.torchrun(str(SCRIPT), "deferred", tokenizer, export, tmp_path, ranks=RANKS)
    assert ran.returncode == 0, ran.stderr
    found = [json.loads(path.read_text()) for path in tmp_path.glob("rank-*.json")]
    assert len(found) == RANKS
    assert sum(rank["share"] for rank in found) > 380e6
    for rank in found:
        assert rank["peak"] < 2 * rank["share"], found
