"""Folders of RapidOCR's weights, by the names under which they are published."""

from pathlib import Path

import pytest

from curation.engines.ocr.rapidocr_weights import RapidOcrWeights, find_shipped_weights, find_weights
from schemas.errors import UsageError

SERVER = ("ch_PP-OCRv5_det_server.onnx", "ch_PP-OCRv5_rec_server.onnx")
NEEDS = (
    "pass weights=FOLDER with one *det*.onnx and one *rec*.onnx as RapidOCR publishes them "
    "(ch_PP-OCRv5_det_server.onnx, ch_PP-OCRv5_rec_server.onnx), and the characters in *dict*.txt or *keys*.txt where "
    "the second lacks them"
)


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"x" * 99)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (SERVER, (*SERVER, None)),
        (("det.onnx", "rec.onnx", "ppocrv5_dict.txt", "README.txt"), ("det.onnx", "rec.onnx", "ppocrv5_dict.txt")),
        (
            (
                "ch_PP-OCRv4_det_mobile.onnx",
                "ch_PP-OCRv4_rec_mobile.onnx",
                "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
                "._ch_PP-OCRv4_det_mobile.onnx",
                "ppocr_keys_v1.txt",
            ),
            ("ch_PP-OCRv4_det_mobile.onnx", "ch_PP-OCRv4_rec_mobile.onnx", "ppocr_keys_v1.txt"),
        ),
    ],
)
def test_published_names(names: tuple[str, ...], found: tuple[str, str, str | None], tmp_path: Path) -> None:
    fill(tmp_path, *names)
    detector, recogniser, dictionary = found
    listed = RapidOcrWeights(tmp_path / detector, tmp_path / recogniser, tmp_path / dictionary if dictionary else None)
    assert find_weights(tmp_path) == listed


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ((), "no *det*.onnx in {folder}"),
        (SERVER[:1], "no *rec*.onnx in {folder}"),
        (
            (*SERVER, "ch_PP-OCRv5_rec_mobile.onnx"),
            f"more than one *rec*.onnx (ch_PP-OCRv5_rec_mobile.onnx, {SERVER[1]}) in {{folder}}",
        ),
        (
            (*SERVER, "a_dict.txt", "b_dict.txt"),
            "more than one list of characters (a_dict.txt, b_dict.txt) in {folder}",
        ),
    ],
)
def test_what_a_folder_lacks_is_named(names: tuple[str, ...], fault: str, tmp_path: Path) -> None:
    fill(tmp_path, *names)
    with pytest.raises(UsageError) as error:
        find_weights(tmp_path)
    assert str(error.value) == f"rapidocr: {fault.format(folder=tmp_path)}; {NEEDS}"


def test_no_folder_and_no_content(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        find_weights(tmp_path / "none")
    assert str(error.value) == f"rapidocr: no folder {tmp_path / 'none'}; {NEEDS}"
    fill(tmp_path, *SERVER)
    (tmp_path / SERVER[1]).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UsageError) as error:
        find_weights(tmp_path)
    assert str(error.value) == f"rapidocr: {tmp_path / SERVER[1]} is empty, or a pointer of Git LFS; fetch it again"


def test_the_wheel_s_weights_are_found() -> None:
    found = find_shipped_weights()
    assert (found.detector.stat().st_size, found.recogniser.stat().st_size) == (9_929_594, 21_234_383)
    assert found.dictionary is None
