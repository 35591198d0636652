"""Checkpoints by the names of the published code: the key map, shape by shape, and what is refused."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from curation.engines.tags.ram_weights import check_checkpoint, find_checkpoint, load_model, read_sizes, rename_tensors
from curation.engines.tags.runtime.ram import RamModel, RamSizes
from schemas.errors import UsageError
from tests.curation.engines.support.published_ram import PublishedRam, make_tensors, save_checkpoint, tiny


@pytest.mark.parametrize("plus", [False, True])
def test_the_key_map_is_complete(plus: bool) -> None:
    with torch.device("meta"):
        published = {name: torch.empty(shape) for name, shape in PublishedRam(plus).shapes().items()}
        renamed = {name: tuple(tensor.shape) for name, tensor in rename_tensors(published).items()}
        sizes = read_sizes(renamed)
        assert sizes == RamSizes(
            depths=(2, 2, 18, 2),
            heads=(6, 12, 24, 48),
            window=12,
            embed_dim=192,
            text_width=512,
            labels=4585,
            descriptions=51 if plus else None,
            head_layers=2,
            head_width=768,
            head_intermediate=3072,
        )
        assert sizes.image_side == 384
        expected = {name: tuple(tensor.shape) for name, tensor in RamModel(sizes).state_dict().items()}
    assert renamed == expected
    without = {name for name, tensor in published.items() if not rename_tensors({name: tensor})}
    captioner = {name for name in published if name.startswith(("tag_encoder.", "text_decoder."))}
    computed = {name for name in published if name.endswith((".relative_position_index", ".attn_mask"))}
    assert without == captioner | computed
    assert len(captioner) == (0 if plus else 641)
    assert len(computed) == 24 + 11  # an index in each block, a mask in every second one but not in the last stage


def test_queries_keys_and_values_are_in_this_order() -> None:
    fused = torch.arange(6.0)
    renamed = rename_tensors({"visual_encoder.layers.1.blocks.0.attn.qkv.bias": fused})
    name = "visual_encoder.encoder.layers.1.blocks.0.attention"
    assert {key: value.tolist() for key, value in renamed.items()} == {
        f"{name}.q_proj.bias": [0, 1],
        f"{name}.k_proj.bias": [2, 3],
        f"{name}.v_proj.bias": [4, 5],
    }


def test_other_names_and_precisions_that_the_published_code_reads(tmp_path: Path) -> None:
    tensors = make_tensors(tiny(plus=True))
    expected = load_model(save_checkpoint(tmp_path / "ram.pth", tensors), 5).state_dict()
    earlier = {name.replace("tagging_head.", "vision_multi."): tensor for name, tensor in tensors.items()}
    found = load_model(save_checkpoint(tmp_path / "earlier.pth", earlier), 5).state_dict()
    assert {name for name in expected if not torch.equal(found[name], expected[name])} == set()
    half = {name: tensor.half() for name, tensor in tensors.items()}
    halved = load_model(save_checkpoint(tmp_path / "half.pth", half), 5).state_dict()
    assert {tensor.dtype for tensor in halved.values()} == {torch.float32}
    assert torch.equal(halved["fc.weight"], expected["fc.weight"].half().float())


def test_a_checkpoint_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "._ram.pth").touch()
    with pytest.raises(UsageError) as error:
        find_checkpoint(str(tmp_path))
    names = "ram_plus_swin_large_14m.pth or ram_swin_large_14m.pth"
    assert str(error.value) == f"ram: {tmp_path} holds 0 files *.pth; pass weights=FILE, one of {names}"
    (tmp_path / "ram.pth").touch()
    assert find_checkpoint(str(tmp_path)) == find_checkpoint(str(tmp_path / "ram.pth")) == tmp_path / "ram.pth"
    (tmp_path / "ram_plus.pth").touch()
    with pytest.raises(UsageError, match=r"holds 2 files \*\.pth; pass weights=FILE, one of "):
        find_checkpoint(str(tmp_path))
    with pytest.raises(UsageError) as error:
        find_checkpoint("/nowhere/ram.pth")
    assert str(error.value) == f"ram: no file /nowhere/ram.pth; pass weights=FILE, {names}"
    with pytest.raises(UsageError, match=r"^ram: Shardloom ships no weights; pass weights=FOLDER with ram_plus_swin_"):
        find_checkpoint(None)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def change(tensors: dict[str, torch.Tensor], case: str) -> Any:
    """What the file holds in place of the checkpoint."""
    if case == "lacks":
        del tensors["visual_encoder.layers.3.blocks.1.attn.qkv.bias"]
    elif case == "shape":
        tensors["visual_encoder.layers.0.downsample.norm.weight"] = torch.ones(31)
    elif case == "descriptions":
        tensors["label_embed"] = tensors["label_embed"][:-1]
    elif case == "head":
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("tagging_head.")}
    elif case == "bare":
        return tensors
    elif case == "listed":
        return {"model": list(tensors)}
    return {"model": tensors}


@pytest.mark.parametrize(
    ("case", "tags", "problem"),
    [
        (
            "lacks",
            5,
            " lacks the tensor visual_encoder.encoder.layers.3.blocks.1.attention.q_proj.bias; fetch it again, ",
        ),
        (
            "shape",
            5,
            ": the shape of visual_encoder.encoder.layers.0.downsample.norm.weight is (31,), not (32,); pass another f",
        ),
        ("descriptions", 4, ": the shape of label_embed is (254, 512), not (204, 512); pass another file"),
        ("head", 5, " holds another model than RAM or RAM++; pass weights=FOLDER with ram_plus_swin_large_14m.pth or "),
        ("bare", 5, " holds no tensors under 'model'; pass weights=FOLDER with ram_plus_swin_large_14m.pth or "),
        ("listed", 5, " holds no tensors under 'model'; pass weights=FOLDER with ram_plus_swin_large_14m.pth or "),
        ("whole", 6, " has 5 tags, and the vocabulary 6; pass vocabulary=FILE with the tags of the weights"),
    ],
)
def test_other_checkpoints_are_refused(case: str, tags: int, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "ram_plus.pth"
    torch.save(change(make_tensors(tiny(plus=True)), case), path)
    for attempt in (check_checkpoint, load_model):
        with pytest.raises(UsageError) as error:
            attempt(path, tags)
        assert str(error.value).startswith(f"ram: {path}{problem}")
        assert "\n" not in str(error.value)


def test_files_that_are_damaged_or_run_code(tmp_path: Path) -> None:
    whole = save_checkpoint(tmp_path / "whole.pth", make_tensors(tiny(plus=True)))
    (tmp_path / "cut.pth").write_bytes(whole.read_bytes()[:-1000])
    (tmp_path / "page.pth").write_text("<html>\n<p>Sign in</p>\n</html>")
    (tmp_path / "pickled.pth").write_bytes(pickle.dumps({"model": {"fc.weight": Bomb(tmp_path / "exploded")}}))
    torch.save({"model": {"fc.weight": Bomb(tmp_path / "exploded")}}, tmp_path / "bomb.pth")
    for name in ("cut", "page", "pickled", "bomb"):
        with pytest.raises(UsageError) as error:
            check_checkpoint(tmp_path / f"{name}.pth", 5)
        assert str(error.value).startswith(f"ram: cannot read {tmp_path}/{name}.pth: ")
        assert str(error.value).endswith("; fetch it again, or pass another file")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "exploded").exists()
    check_checkpoint(whole, 5)
