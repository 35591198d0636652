"""The instruction of a conversation is the words of its first user turn, wherever it lies in a sequence."""

from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.records.document import Role
from tests.training.support import tiny
from tests.training.support.sets import PATCH, TILE, captioned, document, plan, tokenizer, write_set
from training.data.assemble import Assembler
from training.data.build import build_pack_plan
from training.data.options import DataOptions

ROLES: list[Role] = ["system", "user", "user", "user", "assistant", "user", "assistant"]
PARTS = ["be brief", "look", (60, 60), "what?", "a cat", "sure?", "yes"]


def instructions(folder: Path, source: str, **options: object) -> list[str]:
    """The instruction of each sample of the first pack, or of each pack, as text."""
    made = plan(folder, {"talks": source}, **options)
    found = []
    for pack in made.iterate_packs():
        batch, faults = Assembler(made).assemble(pack)
        assert not faults
        for number in range(len(batch.samples[0])):
            own = batch.instructions[0] & (batch.segments[0] == number)
            found.append(bytes(batch.tokens[0][own].tolist()).decode())
        assert not (batch.instructions & (batch.segments < 0)).any()
    return found


def test_the_words_of_the_first_user_turn(tmp_path: Path) -> None:
    """Neither the image among them nor what the template adds, and nothing that others say."""
    other = document(1, ["hi", "ho"], ["user", "assistant"])
    source = write_set(tmp_path / "talks", [document(0, PARTS, ROLES), other], tokenizer(tmp_path)[0])
    assert sorted(instructions(tmp_path, source, sequence_length=256)) == ["hi", "lookwhat?"]


def test_a_turn_of_an_image_alone_has_no_words(tmp_path: Path) -> None:
    """What is asked later is no instruction: the first answer was given without it."""
    parts, roles = [(60, 60), "a cat", "sure?", "yes"], ["user", "assistant", "user", "assistant"]
    source = write_set(tmp_path / "talks", [document(0, parts, roles)], tokenizer(tmp_path)[0])  # type: ignore[arg-type]
    assert instructions(tmp_path, source) == [""]


def test_a_later_piece_begins_with_its_own(tmp_path: Path) -> None:
    parts = ["one?" * 4, "first" * 4, "two?" * 4, "next" * 5]
    roles: list[Role] = ["user", "assistant", "user", "assistant"]
    source = write_set(tmp_path / "talks", [document(0, parts, roles)], tokenizer(tmp_path)[0])
    assert sorted(instructions(tmp_path, source)) == ["one?" * 4, "two?" * 4]


def test_other_samples_have_none(tmp_path: Path) -> None:
    for records in ([captioned(0, "a cat")], [document(0, ["a cat", (60, 60)])]):
        folder = tmp_path / records[0].key
        assert instructions(folder, write_set(folder / "talks", records, tokenizer(folder)[0])) == [""]


def test_images_without_a_conversation_are_refused(tmp_path: Path) -> None:
    """By a connector that needs an instruction, before training; texts without images are not."""
    words, model = tokenizer(tmp_path)
    chosen = tiny.options(tmp_path / "tokenizer", connector=tiny.connector("instruction_aware"))
    talks = write_set(tmp_path / "talks", [document(0, PARTS, ROLES), document(1, ["a text"])], words)
    captions = write_set(tmp_path / "captions", [captioned(n, "a cat") for n in range(3)], words)
    docs = write_set(tmp_path / "docs", [document(7, ["a text"]), document(8, ["a cat", (60, 60)])], words)
    for source, key in ((captions, "c000000"), (docs, "d000008")):
        sources = {"talks": talks, "other": source}
        asked = {"sources": sources, "weights": dict.fromkeys(sources, 1), "cache": str(tmp_path / "cache")}
        options = DataOptions.model_validate(asked)
        said = (
            rf"^data\.sources\.other: .*00000000\.\w+: {key} has an image but is no conversation, and model\.connector"
        )
        with pytest.raises(UsageError, match=said):
            build_pack_plan(options, chosen, words, TILE, PATCH)
        build_pack_plan(options, model, words, TILE, PATCH)
    alone = {"sources": {"talks": talks}, "weights": {"talks": 1}, "cache": str(tmp_path / "cache")}
    build_pack_plan(DataOptions.model_validate(alone), chosen, words, TILE, PATCH)
