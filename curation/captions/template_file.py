"""Reads template files: YAML with the wording of a family's captions in each granularity.

A file is data of unknown origin. It is read strictly (`schemas.strict_yaml`, `curation.format_strings`), and a
fault is reported in one line, before any work.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

import yaml
from pydantic import Field

from curation.captions.fields import FIELDS, TEXT_FIELDS
from curation.format_strings import Format, parse_format
from schemas.errors import UsageError, to_one_line
from schemas.layouts import blip3_grounding, blip3_ocr
from schemas.output_set.options import Options
from schemas.output_set.recipe_file import format_value, validate_options
from schemas.strict_yaml import RefusedYaml, load_yaml

MAX_BYTES = 1 << 16  # of a file; those that ship have one kilobyte

_GRANULARITIES = {"ocr": blip3_ocr.GRANULARITIES, "grounding": blip3_grounding.GRANULARITIES}
FAMILIES = tuple(TEXT_FIELDS)
"""The families of captions that can be rendered with a template."""


class TemplateFile(Options):
    """Holds the keys of a template file as they are written. All texts are format strings."""

    family: Literal["ocr", "grounding"] = Field(description="the family of captions that the template is for")
    lead_in: str = Field("", description="what a list begins with, before its first item; it takes no fields")
    separator: str = Field(", ", description="what stands between two items; it takes no fields")
    tail: str = Field("", description="what a list ends with, after its last item; it takes no fields")
    granularities: dict[int, str] = Field(min_length=1, description="the wording of one item, by granularity")


@dataclass(frozen=True, slots=True)
class CaptionTemplate:
    """Holds a checked template. A list is the lead-in, the items with separators between them, and the tail."""

    family: str
    lead_in: str
    separator: str
    tail: str
    items: tuple[tuple[int, Format], ...]
    """The wording of one item by granularity, in the order of the granularities."""

    @property
    def granularities(self) -> tuple[int, ...]:
        """The granularities that have a wording, in their order."""
        return tuple(number for number, _ in self.items)

    def get_item(self, granularity: int) -> Format:
        """Returns the wording of one item."""
        return dict(self.items)[granularity]

    def split_item(self, granularity: int) -> tuple[Format, Format]:
        """Returns the wording before an item's text and the wording after it. Both end with a literal."""
        item = self.get_item(granularity)
        place = [piece.field for piece in item].index(TEXT_FIELDS[self.family])
        return (*item[:place], item[place]._replace(field="")), item[place + 1 :]

    def list_fields(self) -> set[str]:
        """Returns the names of all fields that the template prints."""
        return {piece.field for _, item in self.items for piece in item[:-1]}


@dataclass(frozen=True, slots=True)
class LoadedTemplate:
    """Holds a template with the file that it came from."""

    template: CaptionTemplate
    text: str
    sha256: str  # of the file's bytes


def load_template(content: bytes, name: str, family: str) -> LoadedTemplate:
    """Parses a template file of a family; `name` is what messages call it. Raises `UsageError` with the fault."""
    if len(content) > MAX_BYTES:
        raise UsageError(f"template {name} has more than {MAX_BYTES:,} bytes")
    try:
        text = content.decode()
        values = load_yaml(text)
    except RefusedYaml as error:
        raise UsageError(f"template {name}, {error}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: undecodable text, an impossible date
        raise UsageError(f"template {name} is not valid YAML: {to_one_line(error)}") from None
    if not isinstance(values, dict):
        raise UsageError(f"template {name} is not a mapping: it needs the keys family and granularities")
    read = validate_options(TemplateFile, values, name, "template")
    if read.family != family:
        raise UsageError(f"template {name} is for {read.family} captions, not for {family}")
    return LoadedTemplate(_parse_file(read, name), text, hashlib.sha256(content).hexdigest())


def _parse_file(read: TemplateFile, name: str) -> CaptionTemplate:
    text_field, known = TEXT_FIELDS[read.family], _GRANULARITIES[read.family]
    parts = {
        key: _parse(getattr(read, key), (), f"template {name}: {key}")[0].literal
        for key in ("lead_in", "separator", "tail")
    }
    items: list[tuple[int, Format]] = []
    for number, wording in sorted(read.granularities.items()):
        place = f"template {name}: granularities.{number}"
        if number not in known:
            raise UsageError(f"{place}: {read.family} captions have the granularities 0 to {known[-1]}")
        item = _parse(wording, (text_field, *FIELDS), place)
        count = sum(piece.field == text_field for piece in item)
        if count != 1:
            found = f"has {{{text_field}}} {count} times" if count else f"lacks {{{text_field}}}"
            raise UsageError(f"{place}: {format_value(wording)} {found}: an item has it once")
        items.append((number, item))
    return CaptionTemplate(read.family, items=tuple(items), **parts)


def _parse(text: str, fields: tuple[str, ...], place: str) -> Format:
    try:
        return parse_format(text, fields)
    except ValueError as error:
        raise UsageError(f"{place}: {error}") from None


def check_granularities(template: CaptionTemplate, granularities: list[int], name: str) -> None:
    """Raises `UsageError` if the template has no wording for one of these granularities."""
    if missing := sorted(set(granularities) - set(template.granularities)):
        has = ", ".join(map(str, template.granularities))
        raise UsageError(f"granularities: template {name} has {has} and not {', '.join(map(str, missing))}")


def is_preset_name(name: str) -> bool:
    """Returns whether a template is named like those that ship: anything else is a path."""
    return re.fullmatch(r"[a-z0-9-]+", name) is not None
