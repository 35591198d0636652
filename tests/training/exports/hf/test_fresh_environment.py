"""An export loads where transformers, torch and Pillow alone are installed, and nothing of this project."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.training.support import exported, load_export, tiny
from training.exports.formats import check_format
from training.exports.llava import write_llava

PACKAGES = ("torch", "transformers", "pillow")
CASES = {
    **{kind: {"connector": tiny.connector(kind)} for kind in tiny.CONNECTORS},
    "any resolution": {"any_resolution": {"enabled": True, "grids": [[2, 1], [1, 2]]}},
    "tied": {"language": {"config": tiny.PHI3 | {"tie_word_embeddings": True}}},
}


def find_distributions(names: tuple[str, ...]) -> dict[str, importlib.metadata.Distribution]:
    """These packages and all that they need, by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    wanted = list(names)
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # one that this platform does not need
            continue
        for line in found[name].requires or ():
            if "extra ==" not in line:
                wanted.append(re.split(r"[^\w.-]", line, maxsplit=1)[0])
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment whose packages are links to these."""
    folder = tmp_path_factory.mktemp("fresh") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for distribution in find_distributions(PACKAGES).values():
        for entry in {Path(file).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            source = Path(str(distribution.locate_file(entry)))
            if source.exists() and not (site / entry).exists():
                (site / entry).symlink_to(source)
    return folder / "bin/python"


def run(python: Path, request: dict[str, object], folder: Path) -> dict[str, object]:
    program = folder / "program.py"
    shutil.copy(load_export.__file__, program)
    path = folder / "request.json"
    path.write_text(json.dumps(request))
    environment = {"PATH": os.environ["PATH"], "HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [str(python), "-s", str(program), str(path)],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, object] = json.loads(path.with_suffix(".out.json").read_text())
    return result


def saved_contents(folder: Path) -> dict[str, bytes]:
    """What was saved again. Transformers writes there that it was offline."""
    found = exported.contents(folder / "saved")
    name = "tokenizer_config.json"
    return found | {name: found[name].replace(b'"local_files_only": true', b'"local_files_only": false')}


@pytest.mark.slow
@pytest.mark.parametrize("case", list(CASES))
def test_an_export(python: Path, tokenizer: Path, tmp_path: Path, case: str) -> None:
    made = exported.make(tokenizer, **CASES[case])  # type: ignore[arg-type]
    folder = exported.write(made, tmp_path / "export")
    pictures = exported.write_pictures(tmp_path / "pictures")
    request = {
        "folder": str(folder),
        "conversations": exported.conversations(pictures),
        "new_tokens": exported.NEW_TOKENS,
        "saved": str(tmp_path / "saved"),
    }
    result = run(python, request, tmp_path)
    assert result["absent"] == list(load_export.ABSENT)
    assert result["base"] == "ShardloomModel"
    tokens, logits, texts = exported.expected(made, pictures)
    found = load_file(tmp_path / "request.safetensors")
    assert found["ids"].tolist() == tokens.tolist()
    seen = tokens != made.tokenizer.special.pad
    assert (found["logits"] - logits)[seen].abs().max() < 1e-5
    assert result["texts"] == texts
    assert saved_contents(tmp_path) == exported.contents(folder)


@pytest.mark.slow
def test_llava(python: Path, tokenizer: Path, tmp_path: Path) -> None:
    vision = {"config": tiny.VISION | {"model_type": "clip_vision_model"}, "feature_layer": -2}
    made = exported.make(tokenizer, vision=vision, connector={"kind": "mlp"}, head_bias=False)
    check_format(made.model, "llava")
    write_llava(made.model, made.tokenizer, made.prompts, made.state, tmp_path / "export")
    pictures = exported.write_pictures(tmp_path / "pictures")
    request = {
        "folder": str(tmp_path / "export"),
        "conversations": exported.conversations(pictures),
        "new_tokens": exported.NEW_TOKENS,
        "saved": str(tmp_path / "saved"),
    }
    result = run(python, request, tmp_path)
    assert (result["absent"], result["base"]) == (list(load_export.ABSENT), "LlavaModel")
    assert saved_contents(tmp_path) == exported.contents(tmp_path / "export")
