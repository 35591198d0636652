"""Writes a page that shows what an output set holds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipelines.evaluate.model_scores import ROWS as PREDICTIONS
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.view.html import write_html
from pipelines.view.kinds import list_views
from pipelines.view.options import ViewOptions
from pipelines.view.page import Page
from pipelines.view.source import EVALUATION, SetSource
from schemas.errors import UsageError
from schemas.output_set.manifest import Manifest
from schemas.output_set.recipe_file import RECIPE_FILE, format_value, read_stored_recipe
from schemas.storage.folder import Folder, split_path

ENDINGS = (".html", ".htm")


@dataclass(frozen=True, slots=True)
class ViewTotals:
    """Counts what a page shows."""

    page: str  # its path
    kind: str
    samples: int
    quarantined: int
    bytes: int
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Returns the counts as plain data."""
        return asdict(self)


def write_view(output_set: str, page_path: str, options: ViewOptions | None = None) -> ViewTotals:
    """Writes the page of an output set. Raises `UsageError` for a folder that is none, or one that no view shows."""
    options = options or ViewOptions()
    if not page_path.endswith(ENDINGS):
        raise UsageError(f"--output {page_path}: a page is a file that ends with {' or '.join(ENDINGS)}")
    page = build_page(Folder(output_set), options)
    data = fit_page(page, options.max_bytes)
    place, name = split_path(page_path)
    place.write(name, data)
    shown = [len(section.cards) for section in page.sections if section.holds_samples]
    left_out = [len(section.cards) for section in page.sections if section.is_dense]
    return ViewTotals(page_path, page.kind, sum(shown), sum(left_out), len(data), page.notes)


def build_page(folder: Folder, options: ViewOptions, manifests: Mapping[str, Manifest] | None = None) -> Page:
    """Returns the page of a folder, by the view of its kind. `manifests` are those of the set, if they are known."""
    recipe = read_folder_recipe(folder)
    view = list_views().get(str(recipe.get("kind")))
    if view is None:
        known = ", ".join(sorted(list_views()))
        raise UsageError(f"{folder.url} is of the kind {format_value(recipe.get('kind'))}; view shows {known}")
    if options.truth is not None and AnnotateRecipe.kind not in view.kinds:
        raise UsageError(f"--truth: {folder.url} is no annotation set, which alone is compared with a ground truth")
    return view.build(SetSource(folder, recipe, manifests), options)


def read_folder_recipe(folder: Folder) -> dict[str, Any]:
    """Returns the stored recipe of a set or run; for an evaluation, which has none, one with its kind alone."""
    if not folder.exists(RECIPE_FILE) and (folder / PREDICTIONS).list_files():
        return {"kind": EVALUATION}
    return read_stored_recipe(folder)


def fit_page(page: Page, max_bytes: int) -> bytes:
    """Returns the page's file. Drops cards from the end of its longest section until the file is small enough.

    Raises `UsageError` if it is too large without any.
    """
    data = write_html(page)
    given = [len(section.cards) for section in page.sections]
    while len(data) > max_bytes:
        longest = max(range(len(page.sections)), key=lambda number: len(page.sections[number].cards), default=None)
        if longest is None or not page.sections[longest].cards:
            raise UsageError(f"the page has {len(data):,} bytes without any sample: raise --max-megabytes")
        section = page.sections[longest]
        kept = min(len(section.cards) - 1, len(section.cards) * max_bytes // len(data))
        note = f"the first {kept:,} of {given[longest]:,}, because the page has reached its size"
        page.sections[longest] = replace(section, cards=section.cards[:kept], note=note)
        data = write_html(page)
    return data
