"""Saves weights as paddlepaddle has them, of two small networks with random weights: python save_paddle.py FOLDER

They find dark text on light paper (the detector is an average of darkness), and read nonsense in it. It takes an
interpreter with paddlepaddle.
"""

import sys
from pathlib import Path

import paddle
import yaml
from paddle.static import InputSpec

from curation.engines.ocr.paddleocr import _DETECTOR, _RECOGNISER

CHARACTERS = "abcdefghij"


class Detector(paddle.nn.Layer):
    """Pixels, from -1 to 1, to a map of text (0 to 1) of the same size."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = self.create_parameter([1], default_initializer=paddle.nn.initializer.Constant(8.0))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        darkness = paddle.nn.functional.avg_pool2d(-x.mean(axis=1, keepdim=True), 9, stride=1, padding=4)
        return paddle.nn.functional.sigmoid(self.scale * (darkness + 0.6))


class Recogniser(paddle.nn.Layer):
    """Lines of 48 pixels to probabilities of characters, eight pixels a step."""

    def __init__(self) -> None:
        super().__init__()
        self.look = paddle.nn.Conv2D(3, len(CHARACTERS) + 2, (48, 8), stride=(48, 8))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        steps = self.look(x).squeeze(2).transpose([0, 2, 1])
        return paddle.nn.functional.softmax(20 * steps, axis=-1)


if __name__ == "__main__":
    paddle.seed(0)
    decode = {"PostProcess": {"name": "CTCLabelDecode", "character_dict": list(CHARACTERS)}}
    shapes = {"det": [None, 3, None, None], "rec": [None, 3, 48, None]}
    for name, network, configuration in (
        ("det", Detector(), _DETECTOR),
        ("rec", Recogniser(), _RECOGNISER | decode),
    ):
        folder = Path(sys.argv[1], name)
        folder.mkdir(parents=True)
        network.eval()
        paddle.jit.save(network, str(folder / "inference"), input_spec=[InputSpec(shapes[name], "float32", name="x")])
        (folder / "inference.yml").write_text(yaml.safe_dump(configuration))
