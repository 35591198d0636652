"""Opens the template that a recipe names: one that ships, or a file."""

from curation.captions.presets import load_preset
from curation.captions.template_file import MAX_BYTES, LoadedTemplate, is_preset_name, load_template
from pipelines.render.text_files import read_text_file


def open_template(name: str, family: str) -> LoadedTemplate:
    """Reads a template: one that ships, by its name, or a file at a path or URL. Raises `UsageError`."""
    if is_preset_name(name):
        return load_preset(family, name)
    return load_template(read_text_file(name, "template", MAX_BYTES), name, family)
