"""Applies the template that a recipe names: to the recipe, which takes its granularities, and to its family."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from curation.captions.families import FAMILIES
from curation.captions.family import CaptionFamily, TemplateOptions
from curation.captions.inverse import TEMPLATE_KEY
from curation.captions.presets import load_preset
from curation.captions.template_file import (
    MAX_BYTES,
    LoadedTemplate,
    check_granularities,
    is_preset_name,
    load_template,
)
from pipelines.recipes.render import RenderRecipe
from schemas.errors import StorageError, UsageError
from schemas.layouts.blip3_ocr import TEMPLATE_VERSION
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import split_path

_WORDING_KEYS = (b"wording", b"coord")  # of a schema's metadata: what the template says now


@dataclass(frozen=True, slots=True)
class Rendering:
    """Holds what a recipe renders with: itself with its granularities, its family, and the template if it names one."""

    recipe: RenderRecipe
    family: CaptionFamily
    template: LoadedTemplate | None

    @classmethod
    def resolve(cls, recipe: RenderRecipe) -> "Rendering":
        """Reads and checks the template that the recipe names. Raises `UsageError` for a wrong one."""
        family, options = FAMILIES.find(recipe.family), recipe.options
        if not isinstance(options, TemplateOptions) or options.template is None or family.use_template is None:
            return cls(recipe, family, None)
        loaded = open_template(options.template, family.name)
        if "granularities" in options.model_fields_set:
            check_granularities(loaded.template, options.granularities, options.template)
        else:
            recipe = recipe.replace_options(granularities=list(loaded.template.granularities))
        return cls(recipe, dataclasses.replace(family, render=family.use_template(loaded.template)), loaded)

    @property
    def fingerprints(self) -> dict[str, EngineFingerprint]:
        """The fingerprint of the template, with the hash of its file; none if the family's own wording is rendered."""
        if self.template is None:
            return {}
        return {
            "template": EngineFingerprint(
                name="template", version=TEMPLATE_VERSION, weights_sha256=self.template.sha256, settings={}
            )
        }

    def build_schema(self, revision: str, base_caption: str) -> pa.Schema:
        """Returns the family's layout. Its metadata holds the template's text, by which captions are read back."""
        schema = self.family.schema(revision, base_caption)
        if self.template is None:
            return schema
        kept = {key: value for key, value in (schema.metadata or {}).items() if key not in _WORDING_KEYS}
        return schema.with_metadata(kept | {TEMPLATE_KEY: self.template.text.encode()})


def open_template(name: str, family: str) -> LoadedTemplate:
    """Reads a template: one that ships, by its name, or a file at a path or URL. Raises `UsageError`."""
    if is_preset_name(name):
        return load_preset(family, name)
    try:
        if "://" in name:
            folder, path = split_path(name)
            content = folder.read(path)
        else:
            with Path(name).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
    except StorageError as error:
        raise UsageError(f"template: {error}") from None
    except OSError as error:
        raise UsageError(f"cannot read template {name}: {error.strerror}") from None
    return load_template(content, name, family)
