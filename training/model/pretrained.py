"""Saves a trained model as a folder of safetensors, configuration and tokenizer, and loads it without any script.

`config.json` holds the `ModelOptions` with each part's full configuration in place of a name, so that nothing but the
folder is needed, and the `PromptOptions`; the keys of the tensors are those of `ResamplerLMM`. Older folders, in which
the connector is called `resampler`, are read too.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor

from schemas.errors import UsageError, to_one_line
from training.model.config import MODEL_TYPE, ModelOptions, PromptOptions
from training.model.folders.new import CONFIG_FILE as CONFIG_FILE
from training.model.folders.new import open_export
from training.model.init_changes import KIND, VISION, InitChange, check_kinds, check_towers, renew_connector
from training.model.lmm import ResamplerLMM
from training.model.new_weights import leave_blank
from training.model.part_configs import dump_config, dump_vision_config, resolve_part_configs
from training.model.tokens import TextTokenizer, load_tokenizer
from training.model.weights import INDEX_FILE, StoredTensor, fill, list_own_keys, read_tensors
from training.model.xgen_mm import load_xgen_mm

MAX_FILE_BYTES = 5_000_000_000  # of a file of weights, as in folders on the hub
_IRRELEVANT_SETTINGS = frozenset(("use_cache", "initializer_range", "bos_token_id", "eos_token_id", "pad_token_id"))
"""Settings that do not change the meaning of weights; dropouts do not either."""
_SETTINGS_NAMED_FIRST = ("model_type", "kind")  # settings to name first in an error about differences
_FEATURE_LAYER = "feature_layer"
_OLD_CONNECTOR_KEY = "resampler"  # the connector's name when the perceiver was the only kind


def build_model(
    options: ModelOptions, device: str = "cpu", weights: str | None = None, changes: Sequence[InitChange] = ()
) -> ResamplerLMM:
    """Builds the model of these options, and loads `weights` in place of those of its parts.

    `weights` is a folder of `save_pretrained`, or a folder or file of xGen-MM's weights, of a model that may differ in
    the options that `changes` name. On `meta` only names and shapes are checked. Raises `UsageError` when a part is not
    available, and for weights that do not fit, or belong to a model with other settings.
    """
    if weights is None:
        return ResamplerLMM.build(options, device)
    path, first = Path(weights), "meta" if device == "meta" else "cpu"
    if path.is_file():
        model = ResamplerLMM.build(options, first)  # for the tower, which such a file may lack
        load_xgen_mm(model, path, changes)
        return model.to(device)
    kind = _read_model_type(path)
    tokenizer = load_tokenizer(options)
    model = _build_changed_model(options, tokenizer, first, changes)
    if kind == MODEL_TYPE:
        with _open_config(path) as config:
            settings = _select_defining_settings(_upgrade_options(config))
        named = options.model_copy(update={"tokenizer": str(path)})
        _check_same_model(model, tokenizer, settings, named, path, changes)
    load_exported(model, path, changes)
    return model.to(device)


def load_exported(model: ResamplerLMM, folder: Path, changes: Sequence[InitChange] = ()) -> None:
    """Loads the weights of a folder of `save_pretrained` or of xGen-MM's; a sharded model reads its own rows alone.

    Raises `UsageError` for tensors that do not fit, but for those that `changes` name.
    """
    if _read_model_type(folder) == MODEL_TYPE:
        fill(model, _read_exported_tensors(folder), str(folder), changes)
    else:
        load_xgen_mm(model, folder, changes)


def build_like(
    options: ModelOptions, source: ResamplerLMM, where: Path, device: str = "cpu", changes: Sequence[InitChange] = ()
) -> ResamplerLMM:
    """Builds the model of these options with the weights of `source`, which came from the folder `where`.

    Raises `UsageError` when the options are those of another model, but for those that `changes` name.
    """
    tokenizer = load_tokenizer(options)
    model = _build_changed_model(options, tokenizer, "meta" if device == "meta" else "cpu", changes)
    settings = _select_defining_settings(_dump_full_options(source))
    _check_same_model(model, tokenizer, settings, source.options, where, changes)
    state = source.state_dict()
    fill(model, ((key, state[key]) for key in sorted(list_own_keys(source))), str(where), changes)
    return model.to(device)


def save_pretrained(
    model: ResamplerLMM,
    tokenizer: TextTokenizer,
    folder: str | Path,
    state: Mapping[str, Tensor] | None = None,
    prompts: PromptOptions | None = None,
    replace: bool = False,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> None:
    """Saves the model into a new or empty folder, its weights in files of up to `max_file_bytes`.

    `state` is the model's whole state, needed when its own tensors are sharded or on another device. The files are
    written beside the folder and then renamed, so that a folder of this name is complete. With `replace`, an existing
    model stays until then. Raises `UsageError` when the folder is not empty, `ShardloomError` when it can't be written.
    """
    with open_export(Path(folder), replace) as unfinished:
        values = state or model.state_dict()
        write_weights(unfinished, {key: values[key] for key in list_own_keys(model)}, max_file_bytes)
        _write_description(unfinished, model, tokenizer, prompts or PromptOptions())


def load_pretrained(folder: str | Path) -> tuple[ResamplerLMM, TextTokenizer]:
    """Loads the model, on the CPU and with its tower frozen, and its tokenizer.

    Raises `UsageError` for a damaged folder.
    """
    folder = Path(folder)
    options = read_options(folder)
    tokenizer = load_tokenizer(options)
    model = build_blank_model(options, tokenizer)
    fill(model, _read_exported_tensors(folder), str(folder))
    return model.eval(), tokenizer


def read_options(folder: Path) -> ModelOptions:
    """Reads the options of the model in the folder. Raises `UsageError` when it is not an export."""
    if (kind := _read_model_type(folder)) != MODEL_TYPE:
        raise UsageError(f"model: {folder / CONFIG_FILE} describes a {kind}; pass a folder of save_pretrained")
    with _open_config(folder) as config:
        options = ModelOptions.model_validate(_upgrade_options(config) | {"tokenizer": str(folder)})
    parts = {"vision": options.vision, "language": options.language}
    if outside := [f"{name}.pretrained" for name, part in parts.items() if part and part.pretrained is not None]:
        raise UsageError(
            f"model: {folder / CONFIG_FILE} refers to weights outside the folder ({' and '.join(outside)}), "
            "which no export does; pass another folder"
        )
    return options.model_copy(update={"allow_download": False})  # loading an export never downloads


def read_prompts(folder: str | Path) -> PromptOptions:
    """Reads how the model's training formatted texts; defaults if the folder does not say."""
    with _open_config(Path(folder)) as config:
        return PromptOptions.model_validate(config.get("prompts", {}))


def build_blank_model(options: ModelOptions, tokenizer: TextTokenizer, device: str = "cpu") -> ResamplerLMM:
    """Builds the model from configurations alone, with uninitialised weights, which the caller must load."""
    with leave_blank():
        model = ResamplerLMM.build(resolve_part_configs(options), device, tokenizer)
    model.options = options
    return model


def _build_changed_model(
    options: ModelOptions, tokenizer: TextTokenizer, device: str, changes: Sequence[InitChange]
) -> ResamplerLMM:
    """Builds a model whose weights the caller loads, with new ones or pretrained ones where `changes` ask for them."""
    if VISION in changes:
        return ResamplerLMM.build(options, device, tokenizer)
    model = build_blank_model(options, tokenizer, device)
    if changes:
        renew_connector(model)
    return model


@contextmanager
def _open_config(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the content of the folder's config.json; an error with it becomes one line."""
    try:
        yield json.loads((folder / CONFIG_FILE).read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # pydantic's is a ValueError
        what = to_one_line(error, with_type=True)
        raise UsageError(
            f"model: {folder / CONFIG_FILE} does not describe a model: {what}; pass another folder"
        ) from None


def _upgrade_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the `ModelOptions` of a config.json under their current names."""
    options = dict(config["model"])
    if _OLD_CONNECTOR_KEY in options:
        options["connector"] = {"kind": "perceiver", **options.pop(_OLD_CONNECTOR_KEY)}
    return options


def _read_exported_tensors(folder: Path) -> Iterator[tuple[str, StoredTensor]]:
    """Yields the tensors of a folder of `save_pretrained` under their current keys."""
    for key, tensor in read_tensors(folder):
        part, dot, name = key.partition(".")
        yield f"connector{dot}{name}" if part == _OLD_CONNECTOR_KEY else key, tensor


def write_weights(folder: Path, tensors: Mapping[str, Tensor], max_file_bytes: int = MAX_FILE_BYTES) -> None:
    """Writes the tensors as safetensors, in files of up to so many bytes, with an index if they are several."""
    own = {key: tensors[key].contiguous() for key in sorted(tensors)}
    split = split_torch_state_dict_into_shards(own, max_shard_size=max_file_bytes)
    for name, keys in split.filename_to_tensors.items():
        save_file({key: own[key] for key in keys}, folder / name, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / INDEX_FILE).write_text(json.dumps(index, indent=1), "utf-8")


def _write_description(folder: Path, model: ResamplerLMM, tokenizer: TextTokenizer, prompts: PromptOptions) -> None:
    """Writes the tokenizer, and the options that build the model."""
    for name, content in tokenizer.build_files().items():
        (folder / name).write_bytes(content)
    config = {"model_type": MODEL_TYPE, "model": _dump_full_options(model), "prompts": prompts.model_dump(mode="json")}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1), "utf-8")


def _check_same_model(
    model: ResamplerLMM,
    tokenizer: TextTokenizer,
    settings: Mapping[str, Any],
    options: ModelOptions,
    folder: Path,
    changes: Sequence[InitChange],
) -> None:
    """Raises `UsageError` when the folder's model has other settings, although its tensors may have the same shapes.

    `settings` are the folder's as of `_select_defining_settings`, and its `options` name its tokenizer. Settings that
    only one of the two has are ignored, because another version of transformers may have more.
    """
    here = _select_defining_settings(_dump_full_options(model))
    check_towers(KIND in settings, KIND in here, changes, str(folder))
    if KIND in settings:
        check_kinds(settings[KIND], here[KIND], changes, str(folder))
    unlike = [name for name in here if name in settings and settings[name] != here[name] and name not in changes]
    if differences := [f"{name} is {settings[name]!r} there and {here[name]!r} here" for name in unlike]:
        raise UsageError(f"model: {folder} is another model: {'; '.join(differences[:3])}; make the recipe's the same")
    other = load_tokenizer(options)
    if (other.fingerprint, other.special) != (tokenizer.fingerprint, tokenizer.special):
        named = options.tokenizer or options.language.pretrained
        raise UsageError(f"model: {folder} was trained with another tokenizer; pass model.tokenizer={named}")


def _select_defining_settings(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of `_dump_full_options` that decide the meaning of weights, by name.

    A model without a tower has none of a tower or a connector.
    """
    parts, tower = {"language": whole["language"]["config"]}, whole["vision"]
    if tower is not None:
        parts["vision"] = tower["config"] | {_FEATURE_LAYER: tower.get(_FEATURE_LAYER, -1)}
        parts["connector"] = whole["connector"]
    return {
        f"{part}.{name}": value
        for part, settings in parts.items()
        for name, value in sorted(settings.items(), key=lambda setting: setting[0] not in _SETTINGS_NAMED_FIRST)
        if name not in _IRRELEVANT_SETTINGS and "drop" not in name
    }


def _dump_full_options(model: ResamplerLMM) -> dict[str, Any]:
    """Returns the options that define the model, with the full configuration of each part in place of its name."""
    options = model.options.model_dump(mode="json", include={"connector", "any_resolution", "head_bias"})
    tower, part = model.vision.get_config(), model.options.vision
    described = None
    if tower is not None and part is not None:
        described = part.model_dump(mode="json", include={_FEATURE_LAYER, "image_size"}) | {
            "config": dump_vision_config(tower)
        }
    return {"vision": described, "language": {"config": dump_config(model.language.lm.config)}} | options


def _read_model_type(folder: Path) -> str:
    path = folder / CONFIG_FILE
    try:
        return str(json.loads(path.read_text("utf-8"))["model_type"])
    except OSError as error:
        raise UsageError(f"model: cannot read {path}: {error.strerror}; pass a folder of save_pretrained") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"model: {path} does not describe a model: {type(error).__name__}: {error}; pass another folder"
        ) from None
