"""Resolves what a recipe renders with: its family, and the template, prompt and phrases in the files that it names."""

from dataclasses import dataclass, replace

import pyarrow as pa

from curation.captions.families import FAMILIES
from curation.captions.family import (
    BaseCaptionOptions,
    CaptionFamily,
    PromptOptions,
    TemplateOptions,
    WrittenCaptionOptions,
)
from curation.captions.inverse import TEMPLATE_KEY
from curation.captions.template_file import LoadedTemplate, check_granularities
from curation.engines.captions.prompts import DEFAULT_PROMPT, MAX_BYTES, PromptTemplate, parse_prompt
from curation.engines.stages import StageName, make_caption_stage
from pipelines.recipes.render import RenderRecipe
from pipelines.render.cleaning import CaptionCleaner
from pipelines.render.template import open_template
from pipelines.render.text_files import read_text_file
from schemas.errors import UsageError
from schemas.layouts.blip3_ocr import TEMPLATE_VERSION
from schemas.records.fingerprint import EngineFingerprint

_WORDING_KEYS = (b"wording", b"coord")  # of a schema's metadata: what the template says now
_IMAGE_COLUMNS = ("uid", "url", "key", "caption", "sha256", "width", "height")
_PROMPT_INPUTS = ("ocr", "tags", "boxes")  # a model that learns to caption is not asked with other models' captions

FILES = ("template", "prompt", "leaks")
"""What a recipe may name a file of, as `Rendering.fingerprints` calls it."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """Holds what a recipe renders with: itself with its granularities, its family, and the files that it names."""

    recipe: RenderRecipe
    family: CaptionFamily
    template: LoadedTemplate | None = None
    prompt: PromptTemplate | None = None
    cleaner: CaptionCleaner | None = None

    @classmethod
    def resolve(cls, recipe: RenderRecipe) -> "Rendering":
        """Reads and checks the files that the recipe names. Raises `UsageError` for a wrong one."""
        family, options = FAMILIES.find(recipe.family), recipe.options
        check_base_options(recipe)
        cleaner = CaptionCleaner.load(options)
        if isinstance(options, PromptOptions) and family.use_prompt is not None:
            prompt = open_prompt(options.prompt)
            return cls(recipe, replace(family, render=family.use_prompt(prompt)), None, prompt, cleaner)
        if not isinstance(options, TemplateOptions) or options.template is None or family.use_template is None:
            return cls(recipe, family, cleaner=cleaner)
        loaded = open_template(options.template, family.name)
        if "granularities" in options.model_fields_set:
            check_granularities(loaded.template, options.granularities, options.template)
        else:
            recipe = recipe.replace_options(granularities=list(loaded.template.granularities))
        return cls(recipe, replace(family, render=family.use_template(loaded.template)), loaded, cleaner=cleaner)

    @property
    def fingerprints(self) -> dict[str, EngineFingerprint]:
        """The fingerprints of the files, with their hashes, by `FILES`; none for a family's own wording."""
        hashes = (
            self.template and self.template.sha256,
            self.prompt and self.prompt.sha256,
            self.cleaner and self.cleaner.leaks_sha256,
        )
        return {
            name: EngineFingerprint(name=name, version=TEMPLATE_VERSION, weights_sha256=sha256, settings={})
            for name, sha256 in zip(FILES, hashes, strict=True)
            if sha256
        }

    @property
    def caption_name(self) -> str | None:
        """The name of the caption of the pass that is rendered; None if it is the alt text or another set's."""
        options = self.recipe.options
        return options.caption_name if isinstance(options, WrittenCaptionOptions) else None

    def list_stages(self) -> list[StageName]:
        """Returns the stages of annotation without which there is nothing to render."""
        own = [make_caption_stage(self.caption_name)] if self.caption_name else []
        column = [] if self.family.column == "captions" else [self.family.column]
        return [*column, *own, *(self.prompt.list_inputs() if self.prompt else [])]

    def list_columns(self) -> list[str]:
        """Returns the names of the columns to read from an annotation set, which need not have all of them."""
        read = [*self.family.columns, *(self.cleaner.columns if self.cleaner else ())]
        read += ["captions"] if self.caption_name else []
        read += self.prompt.list_inputs() if self.prompt else []
        return list(dict.fromkeys([*_IMAGE_COLUMNS, *read, "failures"]))

    def build_schema(self, revision: str, base_caption: str) -> pa.Schema:
        """Returns the family's layout. Its metadata holds the template's text, by which captions are read back."""
        schema = self.family.schema(revision, base_caption)
        if self.template is None:
            return schema
        kept = {key: value for key, value in (schema.metadata or {}).items() if key not in _WORDING_KEYS}
        return schema.with_metadata(kept | {TEMPLATE_KEY: self.template.text.encode()})


def check_base_options(recipe: RenderRecipe) -> None:
    """Raises `UsageError` for options of written captions that have none to work on, or too many."""
    options = recipe.options
    if not isinstance(options, BaseCaptionOptions):
        return
    if options.caption_from is not None and options.caption_name is not None:
        raise UsageError("caption_from and caption_name: the captions come from files or from the pass, not from both")
    if options.caption_from is None and options.caption_column is not None:
        raise UsageError("caption_column: there are no files to take it from: pass caption_from as well")
    if options.caption_from is None and options.caption_name is None:
        for name in ("drop_contradicted", "leak_phrases", "leak_prompts"):
            if getattr(options, name):
                raise UsageError(f"{name}: the alt text is kept as it is: pass caption_from or caption_name as well")


def open_prompt(name: str | None) -> PromptTemplate:
    """Reads a prompt from a path or URL; None is the one that ships. Raises `UsageError`."""
    content = DEFAULT_PROMPT.encode() if name is None else read_text_file(name, "prompt", MAX_BYTES)
    return parse_prompt(content, f"prompt {name}" if name else "prompt", _PROMPT_INPUTS)
