"""Compares two caption templates by trained models: OCR captions of the words alone, and with the places of the words.

    nice -n 19 python -m benchmarks.compare_captions DATA OUTPUT [--seeds 3] [--steps 150]

DATA has image shards, `datacomp_small/*.tar`. A third of its pictures, by the hash of their bytes, are not trained on.
RapidOCR reads all of them (`shardloom annotate`), and the training set has captions of granularity 0 and 4 of the
others (`render`, `shard`). The recipes are `recipes/train/tiny.yaml` on this set, one with each granularity, so that
both see the same pictures in the same order; `shardloom compare` trains them, and the first one again with other seeds.

The tasks are choices by perplexity, one right of four, so that chance is 25 %:

- `seen`: which line stands in a picture that was trained on, the others being of other pictures;
- `unseen`: the same of pictures that were not;
- `spelled`: a line of those pictures, against its letters in another order: what a model has learned of language.

It resumes in OUTPUT, and prints the rows of the table in docs/ablations.md.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.compare.run import CompareOptions, compare, plan_comparison
from pipelines.terminal.comparison import format_effect, format_seeds, format_value
from schemas.log import configure_log
from schemas.output_set.recipe_file import dump_yaml
from schemas.storage.parquet import read_table
from schemas.tar.writer import TarWriter

TINY = Path(__file__).parents[1] / "recipes/train/tiny.yaml"
GRANULARITIES = {"words": 0, "places": 4}
HELD_OUT = 3  # one picture of so many
SHORTEST, LONGEST = 4, 24  # characters of a line that is asked for
LINES = 4  # asked for of a picture, at most
LEAST_CONFIDENCE = 0.9
CHOICES = 4
PROMPT = 'The image contains "'  # as the captions of both granularities begin, whose filler the trainer strips


def main() -> None:
    """Makes the sets, the tasks and the recipes that are absent, and runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    for name, default in (("seeds", 3), ("steps", 150)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    configure_log()
    output: Path = asked.output
    output.mkdir(parents=True, exist_ok=True)
    build_sets(asked.data / "datacomp_small", output)
    tasks = write_tasks(output)
    recipes = [write_recipe(output, name, granularity) for name, granularity in GRANULARITIES.items()]
    options = CompareOptions(
        first=recipes[0],
        second=recipes[1],
        output=str(output / f"comparison-{asked.steps}"),
        tasks=tasks,
        overrides=[f"steps={asked.steps}"],
        seeds=asked.seeds,
        null=True,
        device="cpu",
    )
    found = compare(plan_comparison(options)).to_dict()
    print("\n".join(format_table(found)))


def build_sets(shards: Path, output: Path) -> None:
    """Splits the pictures, and makes the training set of one part by the commands that anyone would use."""
    if not (output / "images").exists():
        split_pictures(shards, output / "images")
    commands = {
        "annotations": ["annotate", "ocr", "--input", f"{output}/images/*.tar", "--workers", "1"],
        "captions": ["render", "ocr", f"{output}/annotations", "--granularity", "0", "--granularity", "4"],
        "training": ["shard", "--images", f"{output}/images/seen.tar", "--captions", f"{output}/captions"],
    }
    for folder, (command, *arguments) in commands.items():
        words = [sys.executable, "-m", f"pipelines.{command}", *arguments, "--output", f"{output}/{folder}"]
        subprocess.run(words, check=True)


def split_pictures(shards: Path, folder: Path) -> None:
    """Writes the pictures into two tars; the hash of a picture's bytes decides, so that its copies stay together."""
    folder.mkdir(parents=True)
    files = {name: (folder / f"{name}.tar").open("wb") for name in ("seen", "unseen")}
    writers = {name: TarWriter(file) for name, file in files.items()}
    for sample in read_samples(shards):
        picture = next(data for name, data in sample.items() if name.endswith(".jpg"))
        is_held_out = int(hashlib.sha256(picture).hexdigest(), 16) % HELD_OUT == 0
        for name, data in sample.items():
            writers["unseen" if is_held_out else "seen"].add(name, data)
    for name, file in files.items():
        writers[name].close()
        file.close()


def read_samples(shards: Path) -> Iterator[dict[str, bytes]]:
    """Yields the members of each sample by name, of one tar or of all in a folder."""
    for path in [shards] if shards.is_file() else sorted(shards.glob("*.tar")):
        samples: dict[str, dict[str, bytes]] = {}
        with tarfile.open(path) as file:
            for member in file:
                data = file.extractfile(member)
                assert data is not None
                samples.setdefault(member.name.partition(".")[0], {})[member.name] = data.read()
        yield from samples.values()


def write_tasks(output: Path) -> list[str]:
    """Writes the questions and the task files, and the pictures that they are about."""
    lines = {name: read_lines(output / f"annotations/data/{name}.parquet") for name in ("seen", "unseen")}
    for name in lines:
        (output / "pictures").mkdir(exist_ok=True)
        for sample in read_samples(output / f"images/{name}.tar"):
            for member, data in sample.items():
                if member.endswith(".jpg"):
                    (output / "pictures" / member).write_bytes(data)
    questions = {
        "seen": list(ask_lines(lines["seen"])),
        "unseen": list(ask_lines(lines["unseen"])),
        "spelled": list(ask_spelling(lines["unseen"])),
    }
    paths = []
    for name, rows in questions.items():
        (output / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        columns = {"group": "picture"}
        task = {
            "questions": {"path": f"{name}.jsonl", "images": "pictures", "columns": columns, "right_choice": "text"},
            "prompt": {"question": PROMPT, "answer": "{answer}"},
            "answer_by": "perplexity",
            "metric": "multiple_choice",
        }
        (output / f"{name}.yaml").write_bytes(dump_yaml(task))
        paths.append(str(output / f"{name}.yaml"))
    return paths


def read_lines(path: Path) -> dict[str, list[str]]:
    """Returns the lines of each picture that RapidOCR is sure of, by the picture's key."""
    found = {}
    for row in read_table(path).to_pylist():
        sure = [one["text"] for one in row["ocr"] or () if one["confidence"] >= LEAST_CONFIDENCE]
        if kept := list(dict.fromkeys(text for text in sure if SHORTEST <= len(text) <= LONGEST)):
            found[row["key"]] = kept
    return found


def ask_lines(lines: Mapping[str, list[str]]) -> Iterator[dict[str, Any]]:
    """Yields questions for lines among those of other pictures that are about as long."""
    for key, own in sorted(lines.items()):
        rng = random.Random(key)
        others = sorted({text for other, texts in lines.items() if other != key for text in texts} - set(own))
        for number, text in enumerate(rng.sample(own, min(LINES, len(own)))):
            near = sorted(others, key=lambda other: (abs(len(other) - len(text)), other))[:30]
            yield make_question(key, number, text, rng.sample(near, CHOICES - 1), rng)


def ask_spelling(lines: Mapping[str, list[str]]) -> Iterator[dict[str, Any]]:
    """Yields questions for lines of letters among their own letters in another order."""
    for key, own in sorted(lines.items()):
        rng = random.Random(key)
        fitting = [text for text in own if len(set(text)) >= 4 and sum(map(str.isalpha, text)) > len(text) // 2]
        for number, text in enumerate(rng.sample(fitting, min(LINES, len(fitting)))):
            mixed: set[str] = set()
            while len(mixed) < CHOICES - 1:
                mixed |= {"".join(rng.sample(text, len(text)))} - {text}
            yield make_question(key, number, text, sorted(mixed), rng)


def make_question(key: str, number: int, right: str, wrong: Sequence[str], rng: random.Random) -> dict[str, Any]:
    """Makes the row of a question, its choices in random order."""
    choices = rng.sample([right, *wrong], len(wrong) + 1)
    return {"id": f"{key}-{number}", "image": f"{key}.jpg", "picture": key, "choices": choices, "answer": right}


def write_recipe(output: Path, name: str, granularity: int) -> str:
    """Writes the recipe of the tiny model that trains on captions of one granularity; its file."""
    recipe = {
        "base": str(TINY),
        "without": ["data.sources", "data.weights", "data.repeats", "data.texts"],
        "data": {
            "sources": {"ocr": "training"},
            "weights": {"ocr": 1},
            "repeats": {"ocr": None},
            "texts": {"ocr": {"strip_filler": True, "granularities": [granularity], "raw_caption": False}},
            "workers": 0,
            "cache": "tables",
        },
        "checkpoint": {"every": 1000},
        "run": {"device": "cpu"},
    }
    path = output / f"{name}.yaml"
    path.write_bytes(dump_yaml(recipe))
    return str(path)


def format_table(found: Mapping[str, Any]) -> list[str]:
    """Formats a row for each task, as Markdown, and a line on what was seen."""
    lines = [
        "| task | questions | A, by seed | B, by seed | B - A | could be seen | A again - A |",
        "|---|---|---|---|---|---|---|",
    ]
    for task in found["tasks"]:
        one = task["figures"]["multiple_choice"]
        means = [format_seeds(one["by_seed"][arm]).partition("\n") for arm in ("a", "b")]
        a, b = (f"{mean} ({seeds.replace(' ', ', ')})" for mean, _, seeds in means)
        difference, null = (format_effect(one[name]).replace("\n", " (") + ")" for name in ("difference", "null"))
        seen = format_value(one["difference"]["detectable"], "")
        lines.append(f"| `{task['task']}` | {task['questions']:,} | {a} | {b} | {difference} | {seen} | {null} |")
    return [*lines, "", json.dumps({"seen": found["seen"], "order_difference": found["order_difference"]})]


if __name__ == "__main__":
    main()
