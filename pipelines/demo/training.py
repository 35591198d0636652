"""Runs the demo's last step: it trains the tiny model of `recipes/train/tiny.yaml` on the demo's training shards."""

import io
import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from rich.console import Console  # noqa: TID251  for tables of cells
from rich.table import Table

from pipelines.terminal.tables import make_cell
from schemas.output_set.layout import DATA, INDEX, REPORT
from schemas.storage.folder import Folder
from schemas.storage.parquet import read_table
from schemas.terminal import print_result

RECIPES = Path(__file__).parents[2] / "recipes/train"
AVERAGED_STEPS = 20  # steps over which a loss is averaged, at the start and at the end of the run


@dataclass(frozen=True, slots=True)
class CaptionExample:
    """Holds a picture's caption in the training shards and the model's answer."""

    source: str
    caption: str
    answer: str


@dataclass(frozen=True, slots=True)
class DemoTraining:
    """Holds the result of the training: each source's mean loss at the start and the end, and example captions."""

    first_losses: dict[str, float]
    last_losses: dict[str, float]
    examples: list[CaptionExample]
    model_folder: str  # its folder


def train_model(output: str, steps: int | None = None) -> DemoTraining:
    """Trains on the training shards in `output`, then generates example captions.

    It resumes an interrupted call, unless `output` is a URL: a run needs a disk, so only the model and the report are
    uploaded.
    """
    if Folder(output).is_local:
        return _train(output, f"{output}/model", steps)
    with tempfile.TemporaryDirectory(prefix="shardloom-") as scratch:
        result = _train(output, scratch, steps)
        for file in sorted(Path(result.model_folder).iterdir()):
            Folder(output).write(f"model/model/{file.name}", file.read_bytes())
        if (report := Path(scratch, REPORT)).exists():
            Folder(output).write(f"model/{REPORT}", report.read_bytes())
    return replace(result, model_folder=f"{output}/model/model")


def _train(output: str, folder: str, steps: int | None) -> DemoTraining:
    from training.loop import train  # takes seconds to import, and only this step needs it
    from training.metrics import read_metrics
    from training.recipe import load_train_recipe

    sources = ("ocr", "grounding", "documents")
    overrides = [f"data.sources.{name}={json.dumps([f'{output}/training/{name}'])}" for name in sources]
    overrides += [f"model.tokenizer={json.dumps(str(RECIPES / 'tiny/tokenizer.json'))}"]
    overrides += [f"steps={steps}"] if steps else []
    result = train(load_train_recipe(str(RECIPES / "tiny.yaml"), overrides, folder), resume="auto")
    if result.model_folder is None:  # it was stopped by a signal, with a checkpoint
        raise KeyboardInterrupt
    losses = [line["losses"] for line in read_metrics(result.folder)]
    return DemoTraining(
        _average_losses(losses[:AVERAGED_STEPS]),
        _average_losses(losses[-AVERAGED_STEPS:]),
        _generate_captions(output, str(result.model_folder)),
        str(result.model_folder),
    )


def _average_losses(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for step in steps:
        for name, loss in step.items():
            found[name].append(loss)
    return {name: fmean(values) for name, values in sorted(found.items())}


def _generate_captions(output: str, model: str) -> list[CaptionExample]:
    from training.model.generate import GenerateOptions, generate
    from training.model.pretrained import load_pretrained
    from training.model.tiles import decode_image

    loaded, tokenizer = load_pretrained(model)
    said = []
    for name in ("ocr", "grounding"):
        image, caption = read_first_sample(Folder(f"{output}/training/{name}"))
        picture = decode_image(image, loaded.vision.image_size)
        said.append(
            CaptionExample(name, caption, generate(loaded, tokenizer, [picture], GenerateOptions(max_new_tokens=60)))
        )
    return said


def read_first_sample(folder: Folder) -> tuple[bytes, str]:
    """Reads image and caption of a set's first sample, through the index."""
    (row,) = read_table(io.BytesIO(folder.read(f"{INDEX}/00000000.parquet"))).slice(0, 1).to_pylist()
    spans = [(member["offset"], member["offset"] + member["size"]) for member in row["members"]]
    image, _, text = (folder.read_range(f"{DATA}/00000000.tar", *span) for span in spans)
    return image, text.decode()


def print_training(console: Console, result: DemoTraining) -> None:
    """Prints losses, example captions and the folder of the model."""
    table = Table("source", "first loss", "last loss", title="training", title_justify="left")
    for name, loss in result.first_losses.items():
        table.add_row(make_cell(name), f"{loss:.3f}", f"{result.last_losses[name]:.3f}")
    console.print(table)
    for said in result.examples:
        print_result(f"caption of a training picture of {said.source}: {said.caption}")
        print_result(f"the model says: {said.answer}")
    print_result(f"the model: {result.model_folder}")
