"""A trained model as a folder: weights as safetensors, configuration and tokenizer, loaded again without any script.

`config.json` holds the `ModelOptions` with each part's full configuration in place of a name, so that nothing but the
folder is needed; the keys of the tensors are those of `ResamplerLMM`.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import split_torch_state_dict_into_shards
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from schemas.errors import ShardloomError, UsageError
from training.model.config import ModelOptions
from training.model.lmm import ResamplerLMM
from training.model.tokens import TextTokenizer, load_tokenizer

CONFIG_FILE, WEIGHTS_FILE, INDEX_FILE = "config.json", "model.safetensors", "model.safetensors.index.json"
MODEL_TYPE = "shardloom_resampler_lmm"

_SHARD = "5GB"  # of a file: what the hub's own folders have


def build_model(options: ModelOptions, device: str = "cpu", weights: str | None = None) -> ResamplerLMM:
    """Of these options; with `weights`, a folder of `save_pretrained`, its tensors instead of the parts' own."""
    if weights is None:
        return ResamplerLMM.build(options, device)
    model = blank_model(options)
    load_weights(model, Path(weights))
    return model.to(device)


def save_pretrained(
    model: ResamplerLMM, tokenizer: TextTokenizer, folder: str | Path, state: Mapping[str, Tensor] | None = None
) -> None:
    """Into a new or empty folder. `state`: the model's whole state, where its own tensors are shards or elsewhere.

    Written beside it first and then renamed: a folder of this name is whole.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"export: {folder} exists and is not empty; pass a new folder")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        _write(unfinished, model, tokenizer, state or model.state_dict())
        unfinished.replace(folder)
    except (OSError, SafetensorError) as error:
        what = " ".join(str(error).split())
        raise ShardloomError(f"export: cannot write {folder}: {what}; make room, and save the model again") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def load_pretrained(folder: str | Path) -> tuple[ResamplerLMM, TextTokenizer]:
    """The model, on the CPU and with its tower frozen, and its tokenizer. `UsageError` for a folder that is damaged."""
    folder = Path(folder)
    options = read_options(folder)
    tokenizer = load_tokenizer(options)
    model = blank_model(options, tokenizer)
    load_weights(model, folder)
    return model.eval(), tokenizer


def read_options(folder: Path) -> ModelOptions:
    """What the model in the folder is made of."""
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text("utf-8"))
        if config["model_type"] != MODEL_TYPE:
            raise UsageError(f"model: {path} is of a {config['model_type']}; pass a folder of save_pretrained")
        return ModelOptions.model_validate(config["model"] | {"tokenizer": str(folder)})
    except OSError as error:
        raise UsageError(f"model: cannot read {path}: {error.strerror}; pass a folder of save_pretrained") from None
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UsageError(f"model: {path} is no model's: {what}; pass a folder of save_pretrained") from None


def blank_model(options: ModelOptions, tokenizer: TextTokenizer | None = None) -> ResamplerLMM:
    """Made from configurations, with whatever weights the memory holds: for those that load all of them."""
    from transformers.initialization import no_init_weights

    with no_init_weights():
        model = ResamplerLMM.build(options, "cpu", tokenizer)
    model.language.lm.tie_weights()
    return model


def load_weights(model: ResamplerLMM, folder: Path) -> None:
    """Fills the model, tensor by tensor. Raises `UsageError` when one is missing, left over or of another shape."""
    fill(model, tensors_of(folder), str(folder))


def fill(model: ResamplerLMM, tensors: Iterable[tuple[str, Tensor]], where: str) -> None:
    """Takes each tensor by its key; all of the model's keys have to come, and no others."""
    state = model.state_dict()
    absent = own_keys(model)
    for key, tensor in tensors:
        if key not in absent:
            raise UsageError(f"model: {where} has {key}, which is none of this model's tensors; pass fitting weights")
        if tensor.shape != state[key].shape:
            shapes = f"{list(tensor.shape)}, here {list(state[key].shape)}"
            raise UsageError(f"model: {key} is {shapes} in {where}; pass fitting weights")
        state[key].copy_(tensor)
        absent.remove(key)
    if absent:
        raise UsageError(f"model: {where} lacks {len(absent)} tensors, {min(absent)} for one; pass whole weights")


def own_keys(model: ResamplerLMM) -> set[str]:
    """The keys of its state, each tied tensor once."""
    tied = dict(model.named_parameters(remove_duplicate=False)).keys() - dict(model.named_parameters()).keys()
    return model.state_dict().keys() - tied


def tensors_of(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Keys and tensors of all safetensors files of a folder, one tensor at a time."""
    for file in _weight_files(folder):
        try:
            with safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118  no dict
                    yield key, opened.get_tensor(key)
        except (OSError, SafetensorError) as error:
            what = " ".join(str(error).split())
            raise UsageError(f"model: cannot read {file}: {what}; pass a folder of whole weights") from None


def _write(folder: Path, model: ResamplerLMM, tokenizer: TextTokenizer, state: Mapping[str, Tensor]) -> None:
    own = {key: state[key].contiguous() for key in sorted(own_keys(model))}
    split = split_torch_state_dict_into_shards(own, max_shard_size=_SHARD)
    for name, keys in split.filename_to_tensors.items():
        save_file({key: own[key] for key in keys}, folder / name, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / INDEX_FILE).write_text(json.dumps(index, indent=1), "utf-8")
    for name, content in tokenizer.files().items():
        (folder / name).write_bytes(content)
    config = {"model_type": MODEL_TYPE, "model": _whole_options(model)}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1), "utf-8")


def _whole_options(model: ResamplerLMM) -> dict[str, Any]:
    """The options that make it what it is, with the full configuration of each part where they have a name."""
    options = model.options.model_dump(mode="json", include={"resampler", "any_resolution", "head_bias"})
    parts = {"vision": model.vision.model.config, "language": model.language.lm.config}
    return {name: {"config": _settings(config)} for name, config in parts.items()} | options


def _settings(config: Any) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    for noise in ("transformers_version", "architectures", "dtype", "auto_map", "_name_or_path"):
        settings.pop(noise, None)
    return settings


def _weight_files(folder: Path) -> list[Path]:
    try:
        if (folder / INDEX_FILE).is_file():
            names = json.loads((folder / INDEX_FILE).read_text("utf-8"))["weight_map"].values()
            return [folder / Path(name).name for name in sorted(set(names))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UsageError(f"model: {folder / INDEX_FILE} is no index: {what}; pass another folder") from None
    return [folder / WEIGHTS_FILE]
