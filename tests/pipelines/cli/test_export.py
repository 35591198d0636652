"""`shardloom export`: the model of a checkpoint, and what is wrong in one line."""

import json
from pathlib import Path

import pytest

from pipelines.cli.app import main
from tests.training.support import runs, tiny
from training.loop import train


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as done:
        main(list(arguments))
    return done.value.code, *capsys.readouterr()


def test_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = runs.packed(
        tmp_path, tiny.write_tokenizer(tmp_path / "tokenizer"), steps=1, run={"output": str(tmp_path / "run")}
    )
    train(asked)
    capsys.readouterr()
    folder, own = tmp_path / "run", tmp_path / "run/model"
    loading = "export: loading the checkpoint after step 1\n"
    default = folder / "model-step-00000001"
    assert run("export", str(folder), capsys=capsys) == (0, f"model: {default}\n", loading)
    assert (default / "model.safetensors").read_bytes() == (own / "model.safetensors").read_bytes()
    half = str(tmp_path / "half")
    code, out, _ = run("export", str(folder), "--step", "1", "--dtype", "bf16", "-o", half, "--json", capsys=capsys)
    assert (code, json.loads(out)) == (0, {"model": half})
    assert run("export", str(folder), "--step", "2", capsys=capsys) == (
        *(2, "", f"error: export: {folder} has no checkpoint of step 2, only step-00000001\n"),
    )
    assert run("generate", str(folder / "checkpoints/step-00000001"), "What?", "--device", "cpu", capsys=capsys)[0] == 0
    wrong = run("generate", str(own), "What?", "--device", "cpu", "--top-p", "0", capsys=capsys)
    assert wrong[:2] == (2, "")
    assert wrong[2].endswith("error: generate: top_p: input should be greater than 0, not 0.0\n")
    assert run("export", str(folder), "--format", "hf", capsys=capsys) == (
        *(0, f"model: {folder / 'hf-step-00000001'}\n", loading),
    )
    assert (folder / "hf-step-00000001/modeling_shardloom.py").is_file()
    assert run("export", str(folder), "--format", "llava", capsys=capsys) == (
        *(
            2,
            "",
            "error: export: --format llava needs connector kind: mlp, and this model has perceiver; use --format hf\n",
        ),
    )
    assert not (folder / "llava-step-00000001").exists()
