"""The image processor of an export makes the tiles that training's reader makes."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from training.exports.hf.image_processing import ShardloomImageProcessor
from training.model.tiles import decode_tiles
from training.model.tiling_options import AnyResolutionOptions
from training.model.towers.families import CLIP
from training.model.towers.pixels import normalize_pixels

GRIDS = ((2, 1), (1, 2))
TILINGS: dict[str, dict[str, Any]] = {
    "squash": {},
    "pad": {"fixed": "pad"},
    "any resolution": {"enabled": True, "grids": GRIDS},
    "sub-images": {"enabled": True, "grids": GRIDS, "canvas": "squash"},
}


def picture(mode: str = "RGB", size: tuple[int, int] = (90, 50)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1] // 10, size[0] // 10, 4), dtype=np.uint8)
    return Image.fromarray(pixels, "RGBA").resize(size, Image.Resampling.NEAREST).convert(mode)


def processor(options: AnyResolutionOptions) -> ShardloomImageProcessor:
    tiling = {name: getattr(options, name) for name in type(options).model_fields}
    side = {"height": 56, "width": 56}
    return ShardloomImageProcessor(tiling, 14, size=side, image_mean=list(CLIP.mean), image_std=list(CLIP.deviation))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "LA"])
@pytest.mark.parametrize("name", list(TILINGS))
def test_equal_tiles(name: str, mode: str) -> None:
    options = AnyResolutionOptions(**TILINGS[name])
    file = io.BytesIO()
    picture(mode).save(file, "PNG")
    tiles, valid, grid = decode_tiles(file.getvalue(), options, 56, 14)
    with Image.open(file) as image:
        out = processor(options)(image, return_tensors="pt")
    assert torch.equal(out["pixel_values"], normalize_pixels(torch.from_numpy(tiles), CLIP.mean, CLIP.deviation))
    assert torch.equal(out["valid_cells"], torch.from_numpy(valid))
    assert out["tile_grids"].tolist() == [list(grid)] * len(tiles)
    assert processor(options).count_tiles(50, 90) == len(tiles)


def test_pictures_are_upright(tmp_path: Path) -> None:
    upright, exif = picture(size=(50, 90)), Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    made = processor(AnyResolutionOptions(enabled=True, grids=GRIDS))
    with Image.open(tmp_path / "turned.png") as turned:
        for given in (turned, str(tmp_path / "turned.png")):
            found = made(given, return_tensors="pt")
            assert found["tile_grids"].tolist() == [[1, 2]] * 3
            assert torch.equal(found["pixel_values"], made(upright, return_tensors="pt")["pixel_values"])


def test_files_are_read_by_training_s_rules(tmp_path: Path) -> None:
    """Transparency shows white, and grey of 16 bits is scaled: transformers would show black, and clip."""
    made, options = processor(AnyResolutionOptions()), AnyResolutionOptions()
    picture("RGBA").save(tmp_path / "clear.png")
    deep = np.linspace(0, 65535, 90 * 50).reshape(50, 90).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    for path in (tmp_path / "clear.png", tmp_path / "deep.png"):
        tiles, _, _ = decode_tiles(path.read_bytes(), options, 56, 14)
        own = normalize_pixels(torch.from_numpy(tiles), CLIP.mean, CLIP.deviation)
        assert torch.equal(made(str(path), return_tensors="pt")["pixel_values"], own)
        assert torch.equal(made([[str(path)]], return_tensors="pt")["pixel_values"], own)


def test_a_picture_in_base64() -> None:
    file = io.BytesIO()
    picture(size=(900, 500)).save(file, "PNG")
    text = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    made = processor(AnyResolutionOptions())
    assert len(text) > 4096
    found, own = (made(one, return_tensors="pt")["pixel_values"] for one in (text, picture(size=(900, 500))))
    assert torch.equal(found, own)


def test_several_pictures_and_no_tensors() -> None:
    made = processor(AnyResolutionOptions(enabled=True, grids=GRIDS))
    out = made([picture(), picture(size=(50, 90))])
    assert out["tile_grids"].tolist() == [[2, 1]] * 3 + [[1, 2]] * 3
    assert (out["pixel_values"].shape, out["pixel_values"].dtype) == ((6, 3, 56, 56), np.float32)
    assert made.to_dict()["image_processor_type"] == "ShardloomImageProcessor"
    with pytest.raises(ValueError, match="an image has values of float32; pass bytes from 0 to 255, or a Pillow image"):
        made(np.zeros((3, 8, 8), np.float32))
