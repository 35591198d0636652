"""The commands by name. The module of a command is imported when it is called, so that help is quick."""

import importlib
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from schemas.errors import UsageError
from schemas.log_options import LoggedCommand

EXAMPLE = "Example: "
HELP = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True, slots=True)
class Entry:
    """What the list of all commands shows of one, and what its own help shows below."""

    summary: str  # the first sentence of its function's docstring
    example: str = ""
    module: str = ""  # of the command in `pipelines.cli`; by default that of its name


COMMANDS = {
    "select": Entry(
        "Select rows of DataComp metadata for download.",
        "select 'metadata/*.parquet' --top-fraction 0.3 --min-side 200 --language en --output selected",
    ),
    "download": Entry(
        "Download the images of DataComp metadata into shards for annotate.",
        "download 'metadata/*.parquet' --output images",
    ),
    "annotate": Entry(
        "Annotate image shards: text, tags, boxes and captions in one pass, committed shard by shard.",
        "annotate ocr,tags,boxes --input 'shards/*.tar' --output annotations",
    ),
    "render": Entry(
        "Render captions from annotations.", "render ocr annotations --output captions --granularity 0 --granularity 5"
    ),
    "shard": Entry(
        "Join image shards and captions into training shards, each with an index for planning.",
        "shard --images 'shards/*.tar' --captions captions --output training",
    ),
    "ingest": Entry(
        "Convert a published set of documents, captions or texts into training shards.",
        "ingest obelics --input 'obelics/*.parquet' --images urls.json --output training",
    ),
    "mix": Entry("Mix sets of training shards, with exact shares at every prefix.", "mix blip3_stage1.yaml --plan"),
    "train": Entry("Train a resampler LMM on training shards.", "train tiny.yaml --output run --resume auto"),
    "export": Entry(
        "Export the model of a run's checkpoint, as the run exports its own at the end, or for other programs.",
        "export run --step 1000 --dtype bf16 --output model",
    ),
    "generate": Entry(
        "Let a trained model continue a text with images, or answer it.",
        "generate run/model 'What does <image> say?' --image sign.jpg --chat",
        "models.generate",
    ),
    "verify": Entry("Check every byte, count and offset of an output set.", "verify annotations"),
    "retry": Entry(
        "Work again on the quarantined rows of a set alone, and merge what comes out.",
        "retry annotations --reason engine_error",
        "sets.retry",
    ),
    "stats": Entry(
        "Print what an output set holds, what was quarantined and why, and how long the runs took.",
        "stats annotations --json",
    ),
    "card": Entry(
        "Write the card of a set again, with what was measured of it, and Croissant metadata beside it.",
        "card annotations --license cc-by-4.0",
        "sets.card",
    ),
    "view": Entry(
        "Show what a set, a run or an evaluation holds as an HTML file: pictures, captions, charts.",
        "view annotations --output annotations.html",
    ),
    "explain": Entry(
        "Trace a caption back to what engines found, to the bytes of the image, and to the row of the source.",
        "explain training 000000000000 --span 0 --crop word.png",
        "sets.explain",
    ),
    "evaluate": Entry(
        "Score annotations against a truth, captions against annotations, or a model on tasks, with 95% intervals.",
        "evaluate boxes annotations --truth truth.jsonl",
    ),
    "compare": Entry(
        "Train two recipes at equal token budgets and seeds, and compare their models on tasks, with 95% intervals.",
        "compare short.yaml long.yaml --seeds 3 --task vqa.yaml --output comparison",
        "models.compare",
    ),
    "engines": Entry(
        "List the engines by kind: which are ready on this machine, what the others miss, and how to get it.",
        "engines --build paddleocr",
    ),
    "recipe": Entry("Print what recipes may hold, check one, or copy one that ships."),
    "demo": Entry(
        "Run every step, from images to a trained model, on generated pictures: a few minutes, no network, no input.",
        "demo --output demo-output",
    ),
}


class ExampleCommand(LoggedCommand):
    """A command that shows its example where what it needs was not given."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command. Raises `UsageError` with the example for options that are missing."""
        from schemas.output_set.recipe_file import (
            MissingOptions,
        )  # imports pydantic, which the list of commands needs not

        try:
            return super().invoke(ctx)
        except MissingOptions as error:
            example = str(self.epilog).removeprefix(EXAMPLE)
            raise UsageError(f"missing: {' and '.join(error.names)}; for example: {example}") from None


class LazyCommand(TyperCommand):
    """Stands for a command in the list of all, and is replaced by it when it is called."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.summary)
        self._name, self._entry = name, entry

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Imports the command and returns its context."""
        return self.load().make_context(*arguments, **options)

    def load(self) -> Any:
        """Imports the command and returns it."""
        function = getattr(importlib.import_module(f"pipelines.cli.{self._entry.module or self._name}"), self._name)
        if isinstance(function, typer.Typer):  # it has commands of its own
            return typer.main.get_command(function)
        app = typer.Typer(add_completion=False, context_settings=HELP, rich_markup_mode="rich")
        app.command(cls=ExampleCommand, epilog=f"{EXAMPLE}shardloom {self._entry.example}")(function)
        return typer.main.get_command(app)


class Commands(TyperGroup):
    """All commands, none of them imported."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: LazyCommand(name, entry) for name, entry in COMMANDS.items()}
