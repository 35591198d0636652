"""Opens an output set for viewing: its recipe, its manifests and what these count."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from pipelines.output.totals import Totals, add_up_manifests
from pipelines.view.charts import draw_bars
from pipelines.view.page import Page
from schemas.errors import ShardloomError
from schemas.output_set.layout import read_manifests
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder


@dataclass(frozen=True, slots=True)
class SetSource:
    """Holds a set that is viewed."""

    folder: Folder
    recipe: dict[str, Any]
    manifests: dict[str, Manifest]
    totals: Totals

    @classmethod
    def open(cls, folder: Folder, recipe: dict[str, Any]) -> "SetSource":
        """Reads the manifests of the set. Raises `ShardloomError` for one with nothing committed."""
        manifests = read_manifests(folder)
        if not manifests:
            raise ShardloomError(f"{folder.url}: nothing is committed yet: run its command first")
        return cls(folder, recipe, manifests, add_up_manifests(manifests.values()))

    @property
    def kind(self) -> str:
        """Returns the kind of the recipe."""
        return str(self.recipe.get("kind"))

    def start_page(self) -> Page:
        """Returns a page with what the manifests say: rows, reasons, counts, engines, damage."""
        totals = self.totals
        page = Page(self.folder.url, self.kind)
        page.facts = [
            ("rows in", f"{totals.rows_in:,}"),
            ("rows out", f"{totals.rows_out:,}"),
            ("quarantined", f"{totals.quarantined:,}"),
            ("outputs", f"{totals.outputs:,}"),
        ]
        page.facts += [
            (name.replace("_", " "), f"{count:,}") for name, count in totals.counts.items() if "." not in name
        ]
        page.facts += self._list_fingerprints()
        page.charts += draw_bars("Quarantined, by reason", totals.reasons)
        for name, damage in totals.damaged.items():
            page.notes.append(f"{name} is damaged: {'; '.join(damage[:3])}")
        return page

    def _list_fingerprints(self) -> list[tuple[str, str]]:
        """Returns what made the set: the name and the version of each engine, template and tokenizer."""
        found = Counter(
            (stage, f"{made.name} {made.version}".strip())
            for manifest in self.manifests.values()
            for stage, made in manifest.fingerprints.items()
        )
        return [(stage, made) for stage, made in sorted(found)]
