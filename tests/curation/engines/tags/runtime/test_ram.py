"""RAM's and RAM++'s forward passes against the published code's, on the same random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from curation.engines.tags.ram import prepare_pixels
from curation.engines.tags.ram_weights import load_model
from tests.curation.engines.support.published_ram import make_tensors, save_checkpoint, tiny

PUBLISHED = {
    False: [
        [-1.8844508, -1.9472651, -1.8748207, -1.9655827, -1.9884637],
        [-1.3044411, -1.5099416, -1.3817274, -1.3950206, -1.5100305],
    ],
    True: [
        [-2.0532785, -2.0307476, -2.0677691, -1.9992933, -2.0640876],
        [-1.4945657, -1.4817244, -1.5454667, -1.2786548, -1.4622944],
    ],
}
"""The logits of xinyu1205/recognize-anything at 7cb804a in float64, for these tensors and pictures."""


@pytest.mark.parametrize("plus", [False, True])
def test_logits_are_those_of_the_published_code(plus: bool, tmp_path: Path) -> None:
    model = load_model(save_checkpoint(tmp_path / "ram.pth", make_tensors(tiny(plus))), tags=5)
    assert model.image_side == 224
    pictures = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    pixels = torch.from_numpy(np.stack([prepare_pixels(picture, 224) for picture in pictures]))
    with torch.inference_mode():
        single, double = model(pixels), model.double()(pixels.double())
    np.testing.assert_allclose(single, PUBLISHED[plus], rtol=0, atol=1e-5)
    np.testing.assert_allclose(double, PUBLISHED[plus], rtol=0, atol=2e-6)  # the pixels are rounded to float32
