"""Folders of weights that are found, hashed and refused without torch."""

import hashlib
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from curation.engines.declaration import OtherEngines
from curation.engines.tags.siglip import ENGINE
from curation.engines.tags.siglip_settings import SiglipTagSettings
from curation.engines.tags.siglip_weights import check_weights
from curation.engines.weights import WeightsFormat, hash_files, hash_weights
from schemas.errors import UsageError

FORMAT = WeightsFormat("seer", required_files="config.json and eyes.safetensors", download_patterns=("*.json",))


def test_folders_and_names_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert FORMAT.find_local_folder("some/weights", allow_download=True) is None
    (tmp_path / "some/weights").mkdir(parents=True)
    assert FORMAT.find_local_folder("some/weights", allow_download=True) == Path("some/weights"), (
        "what is here goes first"
    )
    assert FORMAT.find_local_folder(str(tmp_path), allow_download=False) == tmp_path


@pytest.mark.parametrize(
    ("weights", "allow_download", "line"),
    [
        ("/nowhere", True, "seer: no folder /nowhere; pass weights=FOLDER with config.json and eyes.safetensors"),
        ("nowhere", True, "seer: no folder nowhere; pass weights=FOLDER with config.json and eyes.safetensors"),
        (
            "no/where",
            False,
            "seer: no folder no/where; pass weights=FOLDER, or allow_download=true to fetch it from the hub",
        ),
    ],
)
def test_neither_a_folder_nor_a_name(weights: str, allow_download: bool, line: str) -> None:
    with pytest.raises(UsageError) as raised:
        FORMAT.find_local_folder(weights, allow_download)
    assert str(raised.value) == line


def test_hashes(tmp_path: Path) -> None:
    for name, content in {"b.safetensors": "2", "a.safetensors": "1", "config.json": "3", "vocab.txt": "4"}.items():
        (tmp_path / name).write_text(content)
    assert hash_weights(tmp_path) == hashlib.sha256(b"12").hexdigest()
    names = ("vocab.txt", "absent.json", "config.json")
    assert hash_files(tmp_path, names) == hashlib.sha256(b"43").hexdigest(), "in the order given"


def test_a_config_that_is_none(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.mkdir()
    with pytest.raises(UsageError) as raised:
        FORMAT.read_model_type(tmp_path)
    reason = f"IsADirectoryError: [Errno 21] Is a directory: '{config}'"[:200]
    assert str(raised.value) == f"seer: cannot read {config}: {reason}; pass another folder"
    config.rmdir()
    config.write_text("[" * 100_000)
    with pytest.raises(UsageError) as raised:
        FORMAT.read_model_type(tmp_path)
    assert str(raised.value).startswith(f"seer: cannot read {config}: RecursionError: maximum recursion depth ")
    assert "\n" not in str(raised.value)


def make_safetensors(size: int = 8) -> bytes:
    """A file with one tensor of this many bytes."""
    header = json.dumps(
        {"__metadata__": {"format": "pt"}, "a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    )
    return struct.pack("<Q", len(header)) + header.encode() + bytes(size)


def write_siglip(folder: Path) -> None:
    """What a folder of SigLIP's needs to pass the check: a tokenizer of words, and weights of one tensor."""
    words = Tokenizer(WordLevel({"</s>": 0, "<unk>": 1, "dog": 2, "photo": 3}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    words.save(str(folder / "tokenizer.json"))
    text = {"vocab_size": 4, "max_position_embeddings": 8}
    (folder / "config.json").write_text(json.dumps({"model_type": "siglip", "text_config": text}))
    settings = {"pad_token": "</s>", "tokenizer_class": "SiglipTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "preprocessor_config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(make_safetensors())


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:2c63cb7d1f2e\nsize 812672320\n"
NO_SAFETENSORS = "model.safetensors is no safetensors file, or is cut short; fetch it again, or pass another folder"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("model.safetensors", b"", f"cannot load {{folder}}: {NO_SAFETENSORS}"),
        ("model.safetensors", b"\1" * 99, f"cannot load {{folder}}: {NO_SAFETENSORS}"),
        ("model.safetensors", make_safetensors()[:40], f"cannot load {{folder}}: {NO_SAFETENSORS}"),
        ("model.safetensors", b"\2\0\0\0\0\0\0\0[]", f"cannot load {{folder}}: {NO_SAFETENSORS}"),
        ("model.safetensors", make_safetensors()[:-1], "cannot load {folder}: model.safetensors has "),
        ("model.safetensors", POINTER, "cannot load {folder}: model.safetensors is a pointer of Git LFS and not "),
        (
            "model.safetensors.index.json",
            b'{"weight_map": {"a": "model.safetensors", "b": "more.safetensors"}}',
            "{folder} lacks more.safetensors, which model.safetensors.index.json names; pass another folder",
        ),
        ("tokenizer.json", b"{", "cannot read {folder}/tokenizer.json: "),
        ("tokenizer_config.json", b"{}", "the tokenizer in {folder} does not fit the model or cannot pad; pass "),
        ("preprocessor_config.json", b"[1]", "cannot read {folder}/preprocessor_config.json: TypeError: "),
        ("words.txt", b"photo\ndog dog dog dog\n", "tag 'dog dog dog dog' makes a prompt of 9 tokens, 8 at most; "),
    ],
)
def test_faults_that_need_no_torch_to_be_found(name: str, content: bytes, line: str, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    write_siglip(folder)
    (tmp_path / "words.txt").write_text("dog\n")
    settings = SiglipTagSettings(weights=str(folder), vocabulary=str(tmp_path / "words.txt"))
    assert ENGINE.check is not None
    assert ENGINE.check(settings, OtherEngines()) == []
    (tmp_path / name if name == "words.txt" else folder / name).write_bytes(content)
    with pytest.raises(UsageError) as error:
        ENGINE.check(settings, OtherEngines())
    assert str(error.value).startswith(f"siglip: {line.format(folder=folder)}")
    assert "\n" not in str(error.value)


def test_siglip_folders_are_checked(tmp_path: Path) -> None:
    write_siglip(tmp_path)
    (tmp_path / "config.json").unlink()
    settings = SiglipTagSettings(weights=str(tmp_path))
    with pytest.raises(UsageError, match=rf"^siglip: {tmp_path} lacks config\.json; pass weights=FOLDER with "):
        check_weights(settings)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(UsageError, match=r"holds a model of type 'clip'; pass one of type 'siglip'$"):
        check_weights(settings)
    write_siglip(tmp_path)
    assert check_weights(settings) == tmp_path
    with pytest.raises(UsageError, match=r"^siglip: Shardloom ships no weights; pass weights=FOLDER with "):
        check_weights(SiglipTagSettings())


def test_siglip_is_checked_without_torch() -> None:
    program = (
        "import sys\n"
        "from curation.engines.tags.siglip import SiglipTagSettings\n"
        "from curation.engines.tags.siglip_weights import check_weights\n"
        "check_weights(SiglipTagSettings(weights='nobody/nothing', allow_download=True))\n"
        "assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_hidden_files_are_no_weights(tmp_path: Path) -> None:
    """macOS leaves a `._NAME` beside each file that it copies to a disk of another kind."""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    sha256 = hash_weights(tmp_path)
    (tmp_path / "._model.safetensors").write_bytes(b"Mac OS X")
    assert hash_weights(tmp_path) == sha256
