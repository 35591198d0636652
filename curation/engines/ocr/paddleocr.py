"""Reads text with PaddleOCR 3: on ONNX Runtime if the weights are ONNX files, else on paddlepaddle, which is for GPUs.

It runs in a separate environment (`pipelines/environments/paddleocr.txt`), because it pins older versions of packages
than Shardloom uses. Its library is imported only where an engine is made, so that settings and weights can be checked
anywhere.

Pictures are sized as `RapidOcr` sizes them, and passed one at a time, so that the lines of a picture do not depend on
its batch. The orientation classifiers are off, because they turn upright text upside down.
"""

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from curation.engines.declaration import EngineDeclaration, OtherEngines
from curation.engines.kinds import OCR
from curation.engines.ocr.reading_order import ReadingOrder
from curation.engines.safetensors_file import is_whole_file
from curation.images.decode import RgbImage
from schemas.errors import UsageError
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.text_line import TextLine

REQUIRED_FILES = (
    "det/ and rec/ as PaddleOCR has them (inference.yml, and inference.onnx or inference.pdiparams), "
    "or with *det*.onnx and *rec*.onnx as RapidOCR has them"
)

_LAYOUTS = (
    ("inference.onnx",),
    ("inference.json", "inference.pdiparams"),
    ("inference.pdmodel", "inference.pdiparams"),
)

# The thresholds that RapidOCR uses with its weights. PaddleOCR's own weights have them in their inference.yml.
_AS_RAPIDOCR = {"text_det_thresh": 0.3, "text_det_box_thresh": 0.5, "text_det_unclip_ratio": 1.6}
_DETECTOR = {
    "Global": {"model_name": "PP-OCRv6_small_det"},
    "PreProcess": {
        "transform_ops": [
            {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
            {"DetResizeForTest": {}},
            {"NormalizeImage": {"mean": [0.5] * 3, "std": [0.5] * 3, "scale": 1 / 255, "order": "hwc"}},
            {"ToCHWImage": None},
        ]
    },
    "PostProcess": {"name": "DBPostProcess", "use_dilation": True, "score_mode": "fast", "max_candidates": 1000},
}
_RECOGNISER = {
    "Global": {"model_name": "PP-OCRv6_small_rec"},
    "PreProcess": {
        "transform_ops": [
            {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
            {"RecResizeImg": {"image_shape": [3, 48, 320]}},
        ]
    },
    "PostProcess": {"name": "CTCLabelDecode"},
}


class PaddleOcrSettings(BaseModel):
    """Says how `PaddleOcr` reads. `RapidOcrSettings` gives the reasons for its sizes, floors and order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # A folder with the files in `REQUIRED_FILES`. PaddleOCR could fetch weights itself, but a run must not choose them.
    weights: Path | None = None
    detect_side: int = Field(default=960, ge=32, le=4000)  # PaddleOCR's own limit
    max_enlargement: float = Field(default=3.0, ge=1)
    max_side: int = Field(default=2000, ge=32, lt=2**15)
    min_confidence: float = Field(default=0.5, ge=0, le=1)
    reading_order: ReadingOrder = Field(default="columns", exclude_if=lambda order: order == "lines")
    # Lines of one picture in one pass of the recogniser, padded to the widest. With 1, a line's result does not depend
    # on other lines. A GPU needs 16 or more. Lines of two pictures never share a pass.
    lines_per_pass: int = Field(default=1, ge=1)
    # auto: a GPU where paddlepaddle has one, else the CPU. ONNX Runtime uses only the CPU here.
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1)  # on a CPU; more workers gain more than more threads


@dataclass(frozen=True)
class PaddleWeights:
    """Lists the files of a folder of weights, in the order in which they are read."""

    files: tuple[Path, ...]
    is_onnx: bool
    is_rapidocr: bool  # RapidOCR's files, without PaddleOCR's inference.yml


def find_weights(folder: Path | None) -> PaddleWeights:
    """Finds the weights in a folder. Raises `UsageError` if something is missing. Does not need PaddleOCR."""
    if folder is None:
        raise UsageError(f"paddleocr: no weights; pass --weights ocr=FOLDER with {REQUIRED_FILES}")
    if not folder.is_dir():
        raise UsageError(f"paddleocr: no folder {folder}; pass --weights ocr=FOLDER with {REQUIRED_FILES}")
    models = [folder / "det", folder / "rec"]
    for names in _LAYOUTS:
        files = [model / name for model in models for name in (*names, "inference.yml")]
        if all(file.is_file() for file in files):
            return PaddleWeights(tuple(files), is_onnx=len(names) == 1, is_rapidocr=False)
    files = [path for path in sorted(folder.glob("*.onnx")) if not path.name.startswith(".")]
    found = [[path for path in files if kind in path.name] for kind in ("det", "rec")]
    if all(len(files) == 1 for files in found):
        return PaddleWeights((found[0][0], found[1][0]), is_onnx=True, is_rapidocr=True)
    raise UsageError(f"paddleocr: no weights, or more than one set, in {folder}; pass a folder with {REQUIRED_FILES}")


def choose_environment(settings: PaddleOcrSettings) -> str:
    """Returns the name of the environment that these weights run in. `check_settings` reports missing weights."""
    try:
        is_onnx = find_weights(settings.weights).is_onnx
    except UsageError:
        is_onnx = True
    return "paddleocr" if is_onnx else "paddleocr-gpu"


def check_settings(settings: PaddleOcrSettings, _: OtherEngines) -> list[str]:
    """Checks the weights before a run, without PaddleOCR. Raises `UsageError`."""
    weights = find_weights(settings.weights)
    for file in weights.files:
        if file.suffix != ".yml" and not is_whole_file(file):
            raise UsageError(f"paddleocr: {file} is empty, or a pointer of Git LFS; fetch it again")
    if settings.weights is not None and not weights.is_rapidocr:
        for kind in ("det", "rec"):
            _read_model_name(settings.weights / kind)
    return []


def make_private_cache(root: Path) -> Path:
    """Makes the folder below `root` in which PaddleOCR keeps files, or returns that of an earlier run.

    Its name is predictable, so another user may have made it: raises `UsageError` if another user owns it or may write
    to it.
    """
    folder = root / f"paddlex-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise UsageError(f"paddleocr: {folder} is not private to you; set PADDLE_PDX_CACHE_HOME to a private folder")
    return folder


class PaddleOcr:
    """Implements `OcrEngine`. The same image gives the same lines and floats, whatever else is in its batch."""

    def __init__(self, settings: PaddleOcrSettings | None = None) -> None:
        """Loads the weights, from disk only. Raises `UsageError` for missing weights or packages."""
        self.settings = settings or PaddleOcrSettings()
        weights = find_weights(self.settings.weights)
        # By default it keeps files in the home folder, which a container's user may lack.
        os.environ.setdefault("PADDLE_PDX_CACHE_HOME", str(make_private_cache(Path(tempfile.gettempdir()))))
        try:
            import cv2
            from paddleocr import PaddleOCR  # type: ignore[import-not-found]
        except ImportError as error:
            raise UsageError(f"paddleocr: {error}; it needs a separate environment: see shardloom engines") from None
        cv2.setNumThreads(self.settings.threads)
        self.device = self._choose_device(weights)
        with _prepare_folder(weights, self.settings.weights) as folder:
            self._reader = PaddleOCR(**self._build_parameters(weights, folder))
        self.fingerprint = EngineFingerprint(
            name="paddleocr",
            version=_format_versions(weights),
            weights_sha256=hashlib.sha256(b"".join(file.read_bytes() for file in weights.files)).hexdigest(),
            settings=self.settings.model_dump(exclude={"weights"}) | {"device": self.device},
        )

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        """Returns the lines of each image in reading order, one list for each image, empty where there is no text."""
        return [self._read_lines(image) for image in images]

    def _read_lines(self, image: RgbImage) -> list[TextLine]:
        import cv2

        from curation.engines.ocr.runtime.text_lines import STRIDE, build_lines, resize_within

        bgr = cv2.cvtColor(resize_within(image, self.settings.max_side), cv2.COLOR_RGB2BGR)
        height, width = bgr.shape[:2]
        side = min(self.settings.detect_side, round(self.settings.max_enlargement * max(height, width)))
        [found] = self._reader.predict(
            bgr, text_det_limit_side_len=max(STRIDE, side), text_det_limit_type="resize_long"
        )
        return build_lines(
            found["rec_texts"], found["rec_polys"], found["rec_scores"], (width, height), self.settings.reading_order
        )

    def _choose_device(self, weights: PaddleWeights) -> str:
        has_gpu = False
        if not weights.is_onnx:
            try:
                import paddle  # type: ignore[import-not-found]
            except ImportError:
                raise UsageError(
                    "paddleocr: these weights need paddlepaddle, which is not in this environment; "
                    "see shardloom engines, or pass ONNX files"
                ) from None
            has_gpu = paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
        if self.settings.device == "cuda" and not has_gpu:
            raise UsageError("paddleocr: no GPU for these weights here; pass device=cpu or device=auto")
        return "cuda" if has_gpu and self.settings.device != "cpu" else "cpu"

    def _build_parameters(self, weights: PaddleWeights, folder: Path) -> dict[str, Any]:
        threads = self.settings.threads
        on_onnx = {
            "engine": "onnxruntime",
            "engine_config": {"intra_op_num_threads": threads, "inter_op_num_threads": 1},
        }
        on_paddle = {"engine": "paddle_static", "enable_mkldnn": False, "cpu_threads": threads}
        return {
            "text_detection_model_dir": str(folder / "det"),
            "text_detection_model_name": _read_model_name(folder / "det"),
            "text_recognition_model_dir": str(folder / "rec"),
            "text_recognition_model_name": _read_model_name(folder / "rec"),
            "text_recognition_batch_size": self.settings.lines_per_pass,
            "text_rec_score_thresh": self.settings.min_confidence,
            "use_doc_orientation_classify": False,
            "use_doc_unwarping": False,
            "use_textline_orientation": False,
            "device": "gpu:0" if self.device == "cuda" else "cpu",
            **(_AS_RAPIDOCR if weights.is_rapidocr else {}),
            **(on_onnx if weights.is_onnx else on_paddle),
        }


@contextlib.contextmanager
def _prepare_folder(weights: PaddleWeights, folder: Path | None) -> Iterator[Path]:
    """Yields a folder as PaddleOCR reads it: the user's own, or a temporary one made from RapidOCR's files."""
    if not weights.is_rapidocr:
        assert folder is not None
        yield folder
        return
    import yaml

    with tempfile.TemporaryDirectory() as made:
        detector, recogniser = weights.files
        for name, file, configuration in (
            ("det", detector, _DETECTOR),
            ("rec", recogniser, _build_recogniser_config(recogniser)),
        ):
            model = Path(made) / name
            model.mkdir()
            (model / "inference.onnx").symlink_to(file.absolute())
            (model / "inference.yml").write_text(yaml.safe_dump(configuration), "ascii")
        yield Path(made)


def _build_recogniser_config(recogniser: Path) -> dict[str, Any]:
    """Returns the recogniser's configuration, with the characters that RapidOCR keeps in the file's metadata."""
    import onnxruntime

    model = onnxruntime.InferenceSession(str(recogniser), providers=["CPUExecutionProvider"]).get_modelmeta()
    characters = model.custom_metadata_map.get("character")
    if characters is None:
        raise UsageError(f"paddleocr: {recogniser} holds no characters; pass one converted for rapidocr")
    decode: dict[str, Any] = {"name": "CTCLabelDecode", "character_dict": characters.splitlines()}
    return _RECOGNISER | {"PostProcess": decode}


def _read_model_name(model: Path) -> str:
    """Returns the model's name in its configuration; PaddleOCR accepts no folder without the right name."""
    text = (model / "inference.yml").read_text("utf-8", "replace")
    name = re.search(
        r"^\s*model_name:\s*['\"]?([\w.-]+)", text, re.MULTILINE
    )  # parsing 18,000 characters takes seconds
    if name is None:
        raise UsageError(f"paddleocr: {model / 'inference.yml'} names no model; pass another folder")
    return name[1]


def _format_versions(weights: PaddleWeights) -> str:
    names = (
        ["paddleocr", "paddlex", "onnxruntime"]
        if weights.is_onnx
        else ["paddleocr", "paddlex", *_find_paddle_distribution()]
    )
    return ", ".join(f"{name} {version(name)}" for name in (*names, "opencv-contrib-python"))


def _find_paddle_distribution() -> list[str]:
    """Returns the name of the installed distribution of paddlepaddle."""
    for name in ("paddlepaddle-gpu", "paddlepaddle"):
        with contextlib.suppress(PackageNotFoundError):
            version(name)
            return [name]
    return []


ENGINE = EngineDeclaration(
    name="paddleocr",
    kind=OCR,
    settings=PaddleOcrSettings,
    make=PaddleOcr,
    environment=choose_environment,
    ignores_batches=True,
    check=check_settings,
    restricted_settings=("weights",),
    implied_settings={"reading_order": "lines"},
)
