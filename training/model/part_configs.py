"""Reads the configurations of the tower and the language model, without their weights."""

import json
from pathlib import Path
from typing import Any, Literal

from curation.engines.weights import WeightsFormat
from training.model.config import ModelOptions, PartOptions
from training.model.towers.families import FAMILIES

_FILE_SETTINGS = ("transformers_version", "architectures", "dtype", "auto_map", "_name_or_path")


def resolve_part_configs(options: ModelOptions) -> ModelOptions:
    """Returns the options with each pretrained part replaced by its configuration; only config.json is read.

    Raises `UsageError` for a part that is not available.
    """
    names: tuple[Literal["vision", "language"], ...] = ("vision", "language")
    given = {name: getattr(options, name) for name in names}
    parts: dict[str, PartOptions] = {
        name: _resolve_part_config(part, name, options.allow_download)
        for name, part in given.items()
        if part is not None
    }
    return options.model_copy(update=parts)


def dump_config(config: Any) -> dict[str, Any]:
    """Returns all settings of a transformers configuration; also defaults, since later versions may change them."""
    settings: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return {name: value for name, value in settings.items() if name not in _FILE_SETTINGS}


def dump_vision_config(config: Any) -> dict[str, Any]:
    """Returns the settings of a tower's configuration as `dump_config` does, but none that towers do not have.

    Older files, OpenAI's among them, hold settings of text generation, for example, which transformers keeps.
    """
    family = FAMILIES.get(config.model_type)
    known = None if family is None else type(config)().to_dict()
    return {name: value for name, value in dump_config(config).items() if known is None or name in known}


def find_part_folder(
    part: PartOptions, name: Literal["vision", "language"], allow_download: bool, patterns: tuple[str, ...]
) -> tuple[WeightsFormat, Path]:
    """Returns the folder of a pretrained part, with the files of these patterns, and the format it is in.

    Raises `UsageError` when it is not available.
    """
    assert part.pretrained is not None
    kept = WeightsFormat(
        engine=name,
        required_files="config.json and *.safetensors",
        download_patterns=patterns,
        key=f"model.{name}.pretrained",
        switch="model.allow_download=true",
    )
    return kept, kept.find_local_folder(part.pretrained, allow_download) or kept.fetch(part.pretrained)


def _resolve_part_config(part: PartOptions, name: Literal["vision", "language"], allow_download: bool) -> PartOptions:
    from transformers import AutoConfig

    if part.pretrained is None:
        return part
    kept, folder = find_part_folder(part, name, allow_download, ("config.json",))
    kept.read_model_type(folder)
    config = kept.load(folder, AutoConfig, trust_remote_code=False)
    if name == "vision":
        described = dump_vision_config(getattr(config, "vision_config", config))
    else:
        described = dump_config(config)
    return part.model_copy(update={"pretrained": None, "config": described})
