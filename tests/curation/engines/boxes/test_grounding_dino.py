"""The engine on small networks with random weights: what it finds is noise, and must be the same noise each time."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    SwinConfig,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil
from transformers.utils import logging

from curation.engines.batch_fitter import BatchFitter
from curation.engines.boxes.demonstration import read_demonstration_words
from curation.engines.boxes.grounding_dino import GroundingDino, compute_network_size
from curation.engines.boxes.grounding_dino_settings import GroundingDinoSettings
from curation.engines.boxes.grounding_dino_weights import SHIPPED
from curation.engines.kinds import BOXES, EngineInput
from curation.images.decode import RgbImage
from schemas.errors import UsageError
from schemas.records.box import Detection

torch.set_num_threads(1)  # as the engine does: floats are compared to the bit

WORDS = ["cat", "dog", "traffic", "light", "red", "car", "tree", "house"]
VOCABULARY = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
VOCABULARY |= {f"[unused{n}]": n for n in range(1030) if n not in VOCABULARY.values()}
VOCABULARY |= {word: 1030 + n for n, word in enumerate(WORDS)}

MODELS = {
    "grounding-dino": (GroundingDinoConfig, GroundingDinoForObjectDetection),
    "mm-grounding-dino": (MMGroundingDinoConfig, MMGroundingDinoForObjectDetection),
}


def network(kind: str) -> Any:
    """Some two million random weights, of a scale at which boxes and scores differ from query to query."""
    configuration, architecture = MODELS[kind]
    torch.manual_seed(0)
    model = architecture(
        configuration(
            backbone_config=SwinConfig(
                embed_dim=32, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8), window_size=4, out_indices=[2, 3, 4]
            ),
            text_config=BertConfig(
                vocab_size=len(VOCABULARY),
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                max_position_embeddings=16,
            ),
            num_queries=20,
            d_model=64,
            encoder_layers=2,
            encoder_ffn_dim=128,
            encoder_attention_heads=4,
            decoder_layers=2,
            decoder_ffn_dim=128,
            decoder_attention_heads=4,
            max_text_len=64,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    BertTokenizer(vocab=VOCABULARY).save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save(network(kind), tmp_path_factory.mktemp(kind)) for kind in MODELS}


@pytest.fixture(scope="module")
def weights(folders: dict[str, Path]) -> Path:
    return folders["grounding-dino"]


ALL = {"nms_iou": 1.0, "max_area": 1.0, "min_side": 0.0, "device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def made(weights: Path) -> Callable[..., GroundingDino]:
    """An engine on the CPU that keeps what is above the thresholds, with some settings changed."""

    def make(**changed: Any) -> GroundingDino:
        return GroundingDino(GroundingDinoSettings.model_validate({**ALL, "weights": str(weights), **changed}))

    return make


@pytest.fixture
def copy(weights: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(weights, tmp_path / "copy"))


def image(seed: int, height: int, width: int) -> RgbImage:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return coarse.repeat(16, axis=0).repeat(16, axis=1)


IMAGES = [image(n, *size) for n, size in enumerate([(96, 160), (160, 96), (96, 160), (64, 64), (96, 160), (64, 64)])]
NAMES = [["cat", "traffic light"], ["dog"], ["red car", "tree", "house", "cat"], [], ["dog"], ["house", "tree"]]


def passes(engine: GroundingDino) -> list[tuple[int, ...]]:
    """Shapes of the ids of each forward pass from now on."""
    shapes: list[tuple[int, ...]] = []
    engine._model.register_forward_pre_hook(
        lambda _, __, inputs: shapes.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    return shapes


def assert_close(found: list[Detection], expected: list[Detection], tolerance: float = 1e-4) -> None:
    assert [(one.label, one.phrase) for one in found] == [(one.label, one.phrase) for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=tolerance)
        assert one.box == pytest.approx(other.box, abs=tolerance)


@pytest.mark.parametrize(("kind", "threshold"), [("grounding-dino", 0.3), ("mm-grounding-dino", 0.004)])
@pytest.mark.parametrize("names", [["cat"], ["red car", "tree", "traffic light"]])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_finds_what_transformers_own_loop_does(
    folders: dict[str, Path], kind: str, threshold: float, names: list[str], number: int
) -> None:
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}), BertTokenizer(vocab=VOCABULARY)
    )
    inputs = processor(images=IMAGES[number], text=[names], return_tensors="pt")
    with torch.no_grad():
        outputs = network(kind)(**inputs)
    outputs.logits[..., : inputs.input_ids.shape[1]][..., inputs.input_ids[0] < 1030] = -torch.inf  # separators
    settings = {**ALL, "weights": str(folders[kind]), "box_threshold": threshold, "text_threshold": 0.8 * threshold}
    [found] = GroundingDino(GroundingDinoSettings.model_validate(settings)).annotate([IMAGES[number]], [names])
    [expected] = processor.post_process_grounded_object_detection(
        outputs, threshold=threshold, text_threshold=0.8 * threshold
    )
    boxes = map(tuple, expected["boxes"].clip(0, 1).tolist())
    theirs = sorted(zip(boxes, expected["text_labels"], expected["scores"].tolist(), strict=True))
    ours = sorted(found, key=lambda one: one.box)
    assert len(ours) == len(theirs) > 3
    for one, (box, phrase, score) in zip(ours, theirs, strict=True):
        assert one.box == pytest.approx(box, abs=1e-6)
        assert one.phrase == phrase
        assert set(one.label.split()) & set(phrase.split())
        if len(names) == 1:  # theirs is the highest of the prompt, ours that of the label
            assert one.score == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("kind", MODELS)
def test_weights_survive_saving_and_loading(folders: dict[str, Path], kind: str) -> None:
    saved = network(kind)
    engine = GroundingDino(GroundingDinoSettings.model_validate({**ALL, "weights": str(folders[kind])}))
    loaded = engine._model.state_dict()
    assert saved.state_dict().keys() == loaded.keys()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in saved.state_dict().items())
    [found] = engine.annotate(IMAGES[:1], NAMES[:1])
    engine._model = saved
    [expected] = engine.annotate(IMAGES[:1], NAMES[:1])
    assert_close(found, expected, 1e-6)  # last bits hang on where in memory weights lie: these, in the mapped file
    assert GroundingDino(engine.settings).annotate(IMAGES[:1], NAMES[:1]) == [found], "to the bit"


def test_batched_is_one_by_one(made: Callable[..., GroundingDino]) -> None:
    one_by_one, batched = made(), made(rows_per_pass=4)
    alone = [one_by_one.annotate([image], [names])[0] for image, names in zip(IMAGES, NAMES, strict=True)]
    assert sum(map(len, alone)) > 30
    assert one_by_one.annotate(IMAGES, NAMES) == alone, "with one row a pass, to the bit"
    assert one_by_one.annotate(IMAGES[::-1], NAMES[::-1]) == alone[::-1]
    shapes = passes(batched)
    for found, expected in zip(batched.annotate(IMAGES, NAMES), alone, strict=True):
        assert_close(found, expected)
    assert shapes == [(3, 11), (1, 6), (1, 4)], "three of 96 x 160, prompts padded; 64 x 64; 160 x 96"


def test_smaller_passes_where_memory_is_full(made: Callable[..., GroundingDino]) -> None:
    engine = made(rows_per_pass=4)
    rows: list[int] = []
    forward = engine._forward

    def forward_two(pixels: torch.Tensor, prompts: Any) -> Any:
        rows.append(len(prompts))
        if len(prompts) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return forward(pixels, prompts)

    engine._forward = forward_two  # type: ignore[method-assign]
    told: list[str] = []
    found = BatchFitter(BOXES, engine, told.append).annotate(EngineInput(IMAGES, [""] * len(IMAGES), NAMES))
    assert sorted(rows) == [1, 1, 1, 2, 3], "three of one size are two and one"
    assert told == ["boxes: out of memory: a worker computes 2 prompts at a time from here on"]
    for boxes, expected in zip(found, made().annotate(IMAGES, NAMES), strict=True):
        assert [box["label"] for box in boxes] == [one.label for one in expected]
        assert np.allclose([box["score"] for box in boxes], [one.score for one in expected], atol=1e-5)


def test_padding_an_image_would_alter_its_boxes(made: Callable[..., GroundingDino]) -> None:
    engine = made()
    pixels = engine._preprocess(IMAGES, (64, 96), 0)[None]
    padded = torch.nn.functional.pad(pixels, (0, 0, 0, 32))
    mask = torch.ones(1, 96, 96, dtype=torch.long)
    mask[:, 64:] = 0
    ids = torch.tensor([[101, 1030, 1012, 102]])
    with torch.inference_mode():
        alone = engine._model(pixel_values=pixels, input_ids=ids).pred_boxes
        beside = engine._model(pixel_values=padded, pixel_mask=mask, input_ids=ids).pred_boxes
    assert (alone - beside).abs().max() > 0.01, "if not, sizes may share a pass"


def test_split_prompts(made: Callable[..., GroundingDino]) -> None:
    names = ["red car", "tree", "house", "cat"]
    whole, fitting, split = made(), made(max_tokens=11), made(max_tokens=7)
    shapes = passes(fitting), passes(split)
    [expected] = whole.annotate(IMAGES[:1], [names])
    assert fitting.annotate(IMAGES[:1], [names]) == [expected]
    [found] = split.annotate(IMAGES[:1], [names])
    assert shapes == ([(1, 11)], [(1, 7), (1, 6)])
    parts = whole.annotate(IMAGES[:1] * 2, [names[:2], names[2:]])
    assert found == sorted(parts[0] + parts[1], key=lambda one: (-one.score, one.label, one.box))
    assert len(parts[0]) > 3
    assert len(parts[1]) > 3
    with pytest.raises(ValueError, match="'traffic light' has 2 tokens; a name may have 1, and none is cut"):
        made(max_tokens=4).annotate(IMAGES[:1], [["cat", "traffic light"]])
    with pytest.raises(ValueError, match="has 16 tokens; a name may have 15"):  # the text model's positions
        made().annotate(IMAGES[:1], [["cat " * 16]])
    assert len(passes(made(max_tokens=10_000))) == 0
    assert made(max_tokens=10_000)._max_tokens == 64, "no more than the model takes"


def test_names_that_are_none_cost_nothing(made: Callable[..., GroundingDino]) -> None:
    engine = made()
    shapes = passes(engine)
    assert engine.annotate([], []) == []
    assert engine.annotate(IMAGES[:3], [[], ["", ". ?"], ["unknown"]]) == [[], [], []]
    assert shapes == []
    [[*found], [*same]] = engine.annotate(IMAGES[:1] * 2, [["Cat", "cat", "cat."], ["cat"]])
    assert shapes == [(1, 4), (1, 4)]
    assert {one.label for one in found} == {"Cat"}
    assert [one.box for one in found] == [one.box for one in same]


def test_suppression_and_filters(made: Callable[..., GroundingDino]) -> None:
    names = [["cat", "dog"]]
    [everything] = made(box_threshold=0.05, text_threshold=0.05).annotate(IMAGES[:1], names)
    [few] = made(box_threshold=0.05, text_threshold=0.05, nms_iou=0.0, max_area=0.001, min_side=0.02).annotate(
        IMAGES[:1], names
    )
    assert 0 < len(few) < len(everything)
    for one in few:
        width, height = one.box[2] - one.box[0], one.box[3] - one.box[1]
        assert one in everything
        assert min(width, height) >= 0.02
        assert width * height <= 0.001
    assert made(box_threshold=1.0).annotate(IMAGES[:1], names) == [[]]
    assert made(text_threshold=1.0).annotate(IMAGES[:1], names) == [[]]


def test_coordinates_and_scores_are_floats_of_32_bits_in_range(made: Callable[..., GroundingDino]) -> None:
    found = [one for some in made().annotate(IMAGES, NAMES) for one in some]
    values = np.array([(*one.box, one.score) for one in found])
    assert (values == values.astype(np.float32)).all()
    assert values.min() >= 0
    assert values.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 3000), (3000, 2), (3, 64)])
def test_strips(made: Callable[..., GroundingDino], size: tuple[int, int]) -> None:
    [found] = made().annotate([np.full((*size, 3), 127, np.uint8)], [["cat"]])
    assert all(one.label == "cat" for one in found)


@pytest.mark.parametrize(
    ("size", "step", "expected"),
    [
        ((480, 640), 1, (800, 1066)),
        ((480, 640), 32, (800, 1056)),
        ((479, 640), 32, (800, 1056)),
        ((640, 100), 1, (1333, 208)),
        ((1, 9000), 1, (33, 1333)),
        ((9000, 1), 32, (1344, 33)),
    ],
)
def test_network_size(size: tuple[int, int], step: int, expected: tuple[int, int]) -> None:
    published = GroundingDinoImageProcessorPil(size={"shortest_edge": 800, "longest_edge": 1333})
    assert compute_network_size(size, published, step, queries=900) == expected


def test_network_size_without_resizing_and_with_a_fixed_size() -> None:
    assert compute_network_size((70, 90), GroundingDinoImageProcessorPil(do_resize=False), 1, queries=20) == (70, 90)
    fixed = GroundingDinoImageProcessorPil(size={"height": 64, "width": 96})
    assert compute_network_size((70, 90), fixed, 1, queries=20) == (64, 96)


def test_sides_in_steps_share_a_pass(made: Callable[..., GroundingDino]) -> None:
    exact, stepped = made(rows_per_pass=2), made(rows_per_pass=2, side_step=32)
    pictures = [image(1, 96, 160)[:93], image(1, 96, 160)]
    counts = []
    for engine in (exact, stepped):
        shapes = passes(engine)
        engine.annotate(pictures, [["cat"], ["cat"]])
        counts.append(len(shapes))
    assert counts == [2, 1]


def test_fingerprint(made: Callable[..., GroundingDino], copy: Path) -> None:
    mark = made().fingerprint
    assert mark.name == "grounding_dino"
    assert mark.version.startswith("transformers 5.")
    assert "+" not in mark.version, "builds of one version share it"
    assert mark.settings == {
        "box_threshold": 0.3,
        "text_threshold": 0.25,
        "max_tokens": 256,
        "nms_iou": 1.0,
        "max_area": 1.0,
        "min_side": 0.0,
        "rows_per_pass": 1,
        "side_step": 1,
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "configuration": mark.settings["configuration"],
    }
    assert made(weights=str(copy), allow_out_of_vocabulary=True).fingerprint == mark, "wherever they lie"
    assert made(box_threshold=0.31).fingerprint != mark

    sizes = copy / "preprocessor_config.json"
    sizes.write_text(sizes.read_text().replace("96", "128"))
    other = made(weights=str(copy)).fingerprint
    assert other.weights_sha256 == mark.weights_sha256
    assert other.settings["configuration"] != mark.settings["configuration"]

    tensors = load_file(copy / "model.safetensors")
    tensors["model.level_embed"][0, 0] += 1
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    assert made(weights=str(copy)).fingerprint.weights_sha256 != mark.weights_sha256


def test_autocast_on_a_cpu(made: Callable[..., GroundingDino]) -> None:
    engine = made(precision="bf16")
    assert engine.fingerprint.settings["precision"] == "bf16"
    [found] = engine.annotate(IMAGES[:1], NAMES[:1])
    assert len(found) > 3
    assert engine.annotate(IMAGES[:1], NAMES[:1]) == [found]
    assert engine._model.dtype == torch.float32, "only the arithmetic is in half precision"


def test_weights_in_half_precision_are_loaded_in_full(made: Callable[..., GroundingDino], tmp_path: Path) -> None:
    engine = made(weights=str(save(network("grounding-dino").to(torch.bfloat16), tmp_path)))
    assert engine._model.dtype == torch.float32
    assert len(engine.annotate(IMAGES[:1], NAMES[:1])[0]) > 3


def test_non_finite_boxes_are_an_error(made: Callable[..., GroundingDino], copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["model.level_embed"][0, 0] = torch.nan
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(RuntimeError, match=r"^non-finite boxes or scores in fp32 on cpu$"):
        made(weights=str(copy)).annotate(IMAGES[:1], [["cat"]])


def spoil_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))


def spoil_tensors(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.level_embed"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def spoil_vocabulary(folder: Path) -> None:
    BertTokenizer(vocab_file="vocab.txt").save_pretrained(folder)  # the trap: five tokens, in silence


def spoil_sizes(folder: Path) -> None:
    GroundingDinoImageProcessorPil(size={"max_height": 64, "max_width": 64}).save_pretrained(folder)


def grow_vocabulary(folder: Path) -> None:
    BertTokenizer(vocab={**VOCABULARY, "more": len(VOCABULARY)}).save_pretrained(folder)


NEEDED = r"pass weights=FOLDER with config\.json, \*\.safetensors, tokenizer\.json or vocab\.txt, preprocessor_config"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, rf"no folder .*copy; {NEEDED}"),
        (lambda folder: (folder / "config.json").unlink(), rf"copy holds no config\.json; {NEEDED}"),
        (lambda folder: (folder / "config.json").write_text("{"), r"cannot read .*config\.json: JSONDecodeError"),
        (spoil_config, r"copy holds a model of type 'bert'; pass one of grounding-dino or mm-grounding-dino"),
        (lambda folder: (folder / "model.safetensors").unlink(), rf"copy holds no \*\.safetensors; {NEEDED}"),
        (lambda folder: (folder / "tokenizer.json").unlink(), rf"copy holds no tokenizer; {NEEDED}"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), rf"holds no image processor; {NEEDED}"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"\1" * 99),
            r"cannot load .*copy: .*; fetch it again, or pass another",
        ),
        (spoil_tensors, r"copy lacks 1 of the model's tensors, such as model\.level_embed; pass another folder"),
        (
            spoil_vocabulary,
            r"its tokenizer has \[CLS\] \[SEP\] \. \? as .*, not \(101, 102, 1012, 1029\); pass another",
        ),
        (spoil_sizes, r"copy: its image processor resizes to neither a shortest_edge nor a height and width$"),
        (grow_vocabulary, r"1039 tokens in its tokenizer, 1038 in its model; pass another folder"),
    ],
)
def test_wrong_weights_are_one_line(copy: Path, spoil: Callable[[Path], Any], message: str) -> None:
    spoil(copy)
    with pytest.raises(UsageError, match=message) as raised:
        GroundingDino(GroundingDinoSettings(weights=str(copy)))
    assert raised.value.exit_code == 2
    assert str(raised.value).startswith("grounding_dino: ")
    assert "\n" not in str(raised.value)


def test_hub_names(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = GroundingDinoSettings(weights="IDEA-Research/grounding-dino-tiny")
    for ask in (GroundingDino, read_demonstration_words):
        with pytest.raises(UsageError, match=r"pass weights=FOLDER, or allow_download=true to fetch it from the hub$"):
            ask(settings)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        UsageError, match=r"cannot fetch nobody/nothing from the hub: .*; pass weights=FOLDER$"
    ) as raised:
        GroundingDino(GroundingDinoSettings(weights="nobody/nothing", allow_download=True))
    assert "\n" not in str(raised.value)
    assert read_demonstration_words(settings.model_copy(update={"allow_download": True})) is None, "nothing is fetched"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda(weights: Path) -> None:
    with pytest.raises(UsageError, match="no CUDA device here; pass device=cpu or device=auto"):
        GroundingDino(GroundingDinoSettings(weights=str(weights), device="cuda"))
    mark = GroundingDino(GroundingDinoSettings(weights=str(weights))).fingerprint
    assert (mark.settings["device"], mark.settings["precision"]) == ("cpu", "fp32"), "what auto stands for is recorded"


def test_settings_are_checked() -> None:
    for wrong in ({"box_threshold": 2}, {"max_tokens": 3}, {"rows_per_pass": 0}, {"device": "tpu"}, {"nms": 0.5}):
        with pytest.raises(ValidationError):
            GroundingDinoSettings.model_validate(wrong)


def test_demonstration_words(copy: Path) -> None:
    settings = GroundingDinoSettings(weights=str(copy))
    assert read_demonstration_words(settings) is None
    (copy / "demonstration.json").write_text('{"words": ["cat", "dog"], "more": 1}')
    assert read_demonstration_words(settings) == {"cat", "dog"}
    for text, error in {"[]": "TypeError", "[" * 100_000: "RecursionError", "{": "JSONDecodeError"}.items():
        (copy / "demonstration.json").write_text(text)
        with pytest.raises(UsageError, match=rf"demonstration\.json has no list of words \({error}\)$"):
            read_demonstration_words(settings)


def test_recipes_are_checked_without_torch(copy: Path) -> None:
    (copy / "demonstration.json").write_text('{"words": ["cat"]}')
    program = (
        "import sys\n"
        "from curation.engines.boxes.demonstration import read_demonstration_words\n"
        "from curation.engines.boxes.grounding_dino_settings import GroundingDinoSettings\n"
        f"print(*read_demonstration_words(GroundingDinoSettings(weights={str(copy)!r})))\n"
        "assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("cat\n", "")


def test_quiet(made: Callable[..., GroundingDino], capfd: pytest.CaptureFixture[str]) -> None:
    logging.set_verbosity_debug()
    logging.enable_progress_bar()
    made().annotate([np.zeros((3, 99, 3), np.uint8)], [["cat", "x" * 9999]])
    assert capfd.readouterr() == ("", "")


def test_shipped_weights() -> None:
    settings = GroundingDinoSettings(device="cpu")
    if not any(SHIPPED.glob("*.safetensors")):
        with pytest.raises(UsageError, match="pass weights=FOLDER"):
            GroundingDino(settings)
        pytest.skip("no demonstration weights yet")
    assert read_demonstration_words(settings)
    blank = np.full((96, 128, 3), 255, np.uint8)
    assert len(GroundingDino(settings).annotate([blank], [sorted(read_demonstration_words(settings) or ())])) == 1
