"""Opens an output set for viewing: its recipe, its manifests and what these count."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipelines.output.totals import Totals, add_up_manifests
from pipelines.view.charts import draw_bars
from pipelines.view.page import Page
from schemas.errors import ShardloomError
from schemas.output_set.layout import read_manifests
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder

MAX_DAMAGED = 10  # outputs whose damage a page names; a set may have thousands
EVALUATION = "evaluation"  # the kind of what `evaluate model` writes, which has no recipe


@dataclass(frozen=True)
class SetSource:
    """Holds what is viewed: an output set, or the folder of a training run or an evaluation, which has no manifests."""

    folder: Folder
    recipe: dict[str, Any]
    known: Mapping[str, Manifest] | None = None  # its manifests, where they have been read

    @cached_property
    def manifests(self) -> dict[str, Manifest]:
        """Returns the manifests of the set by name. Raises `ShardloomError` for one with nothing committed."""
        manifests = read_manifests(self.folder) if self.known is None else dict(self.known)
        if not manifests:
            raise ShardloomError(f"{self.folder.url}: nothing is committed yet: run its command first")
        return manifests

    @cached_property
    def totals(self) -> Totals:
        """Returns what the manifests count."""
        return add_up_manifests(self.manifests.values())

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
        damaged = [f"{name} is damaged: {'; '.join(damage[:3])}" for name, damage in totals.damaged.items()]
        page.notes += damaged[:MAX_DAMAGED]
        if len(damaged) > MAX_DAMAGED:
            page.notes.append(f"{len(damaged) - MAX_DAMAGED:,} more are damaged: `shardloom stats --json` names them")
        return page

    def _list_fingerprints(self) -> list[tuple[str, str]]:
        """Returns what made the set: the name and the version of each engine, template and tokenizer."""
        found = Counter(
            (stage, f"{made.name} {made.version}".strip())
            for manifest in self.manifests.values()
            for stage, made in manifest.fingerprints.items()
        )
        return [(stage, made) for stage, made in sorted(found)]
