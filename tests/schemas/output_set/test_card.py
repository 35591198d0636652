"""A card is a person's own as soon as one byte of it is another."""

from pathlib import Path

from schemas.output_set.card import build_card, is_edited, read_card, read_metadata
from schemas.output_set.layout import MAX_MANIFEST
from schemas.storage.folder import Folder

CARD = build_card({"configs": [{"config_name": "é"}]}, "# Words\n\n")


def test_any_edit_is_noticed() -> None:
    assert not is_edited(CARD)
    for place in range(len(CARD)):
        assert is_edited(CARD[:place] + bytes([CARD[place] ^ 1]) + CARD[place + 1 :]), place
    assert all(is_edited(card) for card in (b"", CARD + b"\n", b"\n" + CARD, CARD[:-1], CARD.replace(b"\n", b"\r\n")))


def test_front_matter() -> None:
    assert CARD.decode().startswith("---\nconfigs:\n- config_name: é\n---\n\n# Words\n\n<!-- written by shardloom ")
    assert read_metadata(CARD) == {"configs": [{"config_name": "é"}]}
    assert read_metadata(b"# Words") == read_metadata(b"---\n{\n---\n") == read_metadata(b"---\n- a\n---\n") == {}


def test_what_is_no_file_of_the_set_is_left_alone(tmp_path: Path) -> None:
    output = Folder(str(tmp_path))
    assert read_card(output) is None
    (tmp_path / "README.md").symlink_to(tmp_path / "other")
    (tmp_path / "other").write_bytes(CARD)
    assert read_card(output) == b""
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").mkdir()
    assert read_card(output) == b""
    (tmp_path / "README.md").rmdir()
    (tmp_path / "README.md").write_bytes(CARD)
    assert read_card(output) == CARD
    with (tmp_path / "README.md").open("wb") as file:
        file.truncate(MAX_MANIFEST + 1)
    assert read_card(output) == b""
