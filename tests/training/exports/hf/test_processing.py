"""The processor of an export counts tokens of images, and finds the words that condition them."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.training.support import exported, tiny
from training.exports.hf.grids import list_image_grids
from training.exports.hf.write import make_processor

GRIDS = {"enabled": True, "grids": [[2, 1], [1, 2]]}


def processor(tokenizer: Path, **changes: Any) -> Any:
    made = exported.make(tokenizer, **changes)
    return make_processor(made.model, made.tokenizer, made.prompts)


@pytest.mark.parametrize(
    ("changes", "tiles", "tokens"),
    [({}, 1, 4), ({"any_resolution": GRIDS}, 3, 12), ({"any_resolution": GRIDS | {"fixed_sampling": True}}, 3, 4)],
)
def test_tokens_of_an_image(tokenizer: Path, changes: dict[str, Any], tiles: int, tokens: int) -> None:
    made = processor(tokenizer, **changes)
    out = made(images=Image.new("RGB", (96, 48)), text="a<image>b", return_tensors="pt")
    assert out["input_ids"].tolist() == [[97, *[tiny.IMAGE] * tokens, 98]]
    assert len(out["pixel_values"]) == tiles
    counted = made._get_num_multimodal_tokens(image_sizes=[(48, 96), (96, 48)])
    assert (counted["num_image_tokens"], counted["num_image_patches"]) == ([tokens] * 2, [tiles] * 2)
    assert "instruction_ids" not in out
    with pytest.raises(ValueError, match="number of images"):
        made(images=Image.new("RGB", (96, 48)), text="none")


def test_instructions(tokenizer: Path) -> None:
    """Each tile has the first words, eight at most, of the first user turn of its image's text."""
    made = processor(tokenizer, connector=tiny.connector("instruction_aware"), any_resolution=GRIDS)
    pictures = [Image.new("RGB", (96, 48))] * 3
    texts = ["<|user|>\n<image>\nab<|end|>\n<|assistant|>\nc<|end|>\n<|user|>\nd<|end|>\n", "<image><image>0123456789"]
    out = made(images=pictures, text=texts, padding=True, return_tensors="pt")
    long = list(b"01234567")
    assert out["instruction_ids"].tolist() == [[*b"ab", *[tiny.PAD] * 6]] * 3 + [long] * 6
    assert out["instruction_mask"].tolist() == [[True, True, *[False] * 6]] * 3 + [[True] * 8] * 6
    assert isinstance(made(images=pictures[:1], text=texts[0])["instruction_ids"], list)
    silent = made(images=pictures[:1], text="<image>", return_tensors="pt")
    assert silent["instruction_mask"].tolist() == [[False]] * 3


def test_grids() -> None:
    assert list_image_grids([[0, 0], [2, 1], [2, 1], [2, 1], [0, 0]]) == [(0, 0), (2, 1), (0, 0)]
    assert list_image_grids([]) == []
