"""Compiles a template's items for captions that are written row by row: what is before and after each label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

from curation.captions.inversion import Inversion, find_inversion
from curation.captions.template_file import CaptionTemplate
from curation.format_strings import Format


@dataclass(frozen=True, slots=True)
class Affix:
    """Holds what is before or after a label."""

    form: str  # for `str.format`, with a `{}` for each field; built from a parsed format string
    fields: tuple[str, ...]

    @classmethod
    def compile(cls, pieces: Format) -> "Affix":
        """Compiles the parsed format string."""
        form = "".join(
            piece.literal.replace("{", "{{").replace("}", "}}") + ("{}" if piece.field else "") for piece in pieces
        )
        return cls(form, tuple(piece.field for piece in pieces[:-1]))

    def render(self, columns: Mapping[str, Sequence[str]], count: int) -> list[str]:
        """Returns the affix of each of `count` items; `columns` hold what each field prints for them."""
        if not self.fields:
            return list(repeat(self.form.format(), count))
        return list(map(self.form.format, *(columns[field] for field in self.fields)))


@dataclass(frozen=True, slots=True)
class Wording:
    """Holds the wording of one item in one granularity."""

    opening: Affix
    ending: Affix
    inversion: Inversion | None

    @property
    def has_opening(self) -> bool:
        """Whether anything is written before a label, as a tag is."""
        return bool(self.opening.form)

    def escape(self, text: str) -> str:
        """Escapes a caption's own words. Text without look-alikes, which is nearly all text, is unchanged."""
        look_alike = None if self.inversion is None else self.inversion.look_alike
        if look_alike is None or self.inversion is None or ("&" not in text and look_alike.character not in text):
            return text
        return self.inversion.escape(text)

    def escape_listed(self, label: str) -> str:
        """Escapes a label for the list, where it must not look like a lead-in either."""
        return label if self.inversion is None else self.inversion.escape_listed(label)


def compile_wordings(template: CaptionTemplate, granularities: Sequence[int]) -> list[Wording]:
    """Compiles the items of these granularities."""
    return [_compile_wording(template, number) for number in granularities]


def _compile_wording(template: CaptionTemplate, granularity: int) -> Wording:
    before, after = template.split_item(granularity)
    inversion = find_inversion(template, granularity)
    return Wording(Affix.compile(before), Affix.compile(after), inversion)
