"""Measures captions per second on one core, over all granularities: the Arrow renderers of OCR and grounding captions.

    python benchmarks/render.py [--rows 20000] [--template FILE ...]

For OCR, the renderer and two row-at-a-time baselines in Python make the same two JSON columns from the same rows, byte
for byte (checked), in the same run. One baseline computes every number and `Fraction` for f-strings; the other looks
the numbers up in tables. Grounding captions are rendered over alt texts of a dozen words and over another data set's
captions of sixty words. OCR captions are also rendered by the templates that ship, and by `--template` files.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import pyarrow as pa

from curation.captions import grounding
from curation.captions.ocr import OcrColumns, render_ocr_captions
from curation.captions.presets import list_presets
from curation.captions.template_file import CaptionTemplate
from pipelines.render.template import open_template
from schemas.layouts.blip3_ocr import POSITIONS
from schemas.records.box import BOXES_COLUMN
from schemas.records.text_line import OCR_COLUMN

WORDS = "OPEN SALE Café 24h www.example.com No. 7 NEW Fresh coffee MACK SHOP R&D 5% off Bäckerei 北京 EXIT".split()  # noqa: SIM905
ALT_TEXTS = ("A street with shops and signs", "Vintage poster, 1950s.", 'The "Grand" hotel at night', "")
LABELS = ("dog", "cat", "hot dog", "football player", "red jersey", "table", "man", "woman", "tree", "car", "t shirt")
OTHER_WORDS = ("a", "the", "with", "in", "of", "and", "near", "standing", "small", "blue", "photo", "image", "street")

Row = dict[str, Any]
Columns = tuple[list[str], list[str]]


def make_rows(count: int) -> list[Row]:
    """Returns rows of one to six lines of one to four words each; about one line in a hundred needs escaping."""
    pick = random.Random(0)
    return [{"uid": f"{n:032x}", "raw": pick.choice(ALT_TEXTS), "ocr": make_lines(pick)} for n in range(count)]


def make_lines(pick: random.Random) -> list[Row]:
    """Returns one to six random lines of text."""
    lines = []
    for _ in range(pick.randint(1, 6)):
        (x1, x2), (y1, y2) = (sorted(pick.randint(0, 1000) for _ in range(2)) for _ in "xy")
        words = pick.choices(WORDS, k=pick.randint(1, 4))
        text = " ".join(words) + pick.choices(["", ' 5"'], [99, 1])[0]
        box = {"x1": x1 / 1000, "y1": y1 / 1000, "x2": x2 / 1000, "y2": y2 / 1000}
        lines.append({"text": text, "polygon": [0.0] * 8, **box, "confidence": pick.randint(500, 1000) / 1000})
    return lines


def make_captions(pick: random.Random) -> Row:
    """Returns one to eight objects, highest score first, and two captions that mention half of them."""
    labels = pick.choices(LABELS, k=pick.randint(1, 8))
    found = [
        {"label": label, "phrase": label, **dict(zip(("x1", "y1", "x2", "y2"), corners(pick), strict=True))}
        | {"score": 0.95 - 0.1 * number}
        for number, label in enumerate(labels)
    ]
    captions = []
    for words in (8, 55):
        parts = pick.choices(OTHER_WORDS, k=words) + [label for label in labels if pick.random() < 0.5]
        pick.shuffle(parts)
        captions.append(" ".join(parts).capitalize())
    return {"boxes": found, "raw": captions[0], "other": captions[1]}


def corners(pick: random.Random) -> tuple[float, float, float, float]:
    """Returns a random box."""
    (x1, x2), (y1, y2) = (sorted(pick.randint(0, 1000) for _ in range(2)) for _ in "xy")
    return x1 / 1000, y1 / 1000, x2 / 1000, y2 / 1000


def thousandths(line: Row) -> tuple[int, int, int, int]:
    """Returns a line's box in thousandths."""
    return round(line["x1"] * 1000), round(line["y1"] * 1000), round(line["x2"] * 1000), round(line["y2"] * 1000)


def share(total: int) -> str:
    """Returns a sum of two coordinates in thousandths as the fraction that granularity 2 prints."""
    return str(Fraction(total, 2000).limit_denominator(20))


def tenth(number: int) -> str:
    """Returns thousandths with one decimal."""
    return repr(round(number / 1000, 1))


def decimal(number: int) -> str:
    """Returns thousandths with three decimals."""
    return repr(number / 1000)


def position(across: int, down: int) -> str:
    """Returns the phrase of granularity 1 for sums of two coordinates in thousandths."""
    row, column = ((3 * total > 2000) + (3 * total > 4000) for total in (down, across))
    return POSITIONS[3 * row + column]


def segments(line: Row, look_up: Callable[[Callable[..., str]], Callable[..., str]]) -> list[str]:
    """Returns the six forms of one line of text; `look_up` may replace a function by a table."""
    x1, y1, x2, y2 = thousandths(line)
    text = line["text"].replace("\\", "\\\\").replace('"', '\\"')
    down, across = look_up(share)(y1 + y2), look_up(share)(x1 + x2)
    a, b, c, d = map(look_up(tenth), (x1, y1, x2, y2))
    e, f, g, h = map(look_up(decimal), (x1, y1, x2, y2))
    return [
        f'"{text}"',
        f'"{text}" located {look_up(position)(x1 + x2, y1 + y2)}',
        f'"{text}" located at {down} of the image from top to bottom and {across} of the image from left to right',
        f'"{text}" approximately starts at [{a}, {b}] and extends up to [{c}, {d}]',
        f'"{text}" starts at [{e}, {f}] and extends up to [{g}, {h}]',
        f'"<ocr>{line["text"]}</ocr><bbox>[{e}, {f}][{g}, {h}]</bbox>"',
    ]


def python_row(row: Row, look_up: Callable[[Callable[..., str]], Callable[..., str]]) -> tuple[str, str]:
    """Returns the two JSON strings of one row."""
    by_line = [segments(line, look_up) for line in row["ocr"]]
    sentences = [
        "The image contains " + ", ".join("the text " + s for s in column) for column in zip(*by_line, strict=True)
    ]
    raw = row["raw"].rstrip()
    prefix = raw and raw + (" " if raw[-1] in ".!?…" else ". ")
    captions = [
        {"text": before + sentence, "granularity": granularity, "include_datacomp_raw_cap": with_raw}
        for before, with_raw in (("", False), (prefix, True))
        for granularity, sentence in enumerate(sentences)
    ]
    entries = [
        {
            "text": line["text"],
            "bbox": [number / 1000 for number in thousandths(line)],
            "confidence": round(line["confidence"], 3),
        }
        for line in row["ocr"]
    ]
    metadata = {"entries": entries, "length": len(entries), "uid": row["uid"]}
    return json.dumps(captions, ensure_ascii=False), json.dumps(metadata, ensure_ascii=False)


def f_strings(rows: list[Row]) -> Columns:
    """Renders the rows, computing every number."""
    captions, metadata = zip(*(python_row(row, lambda function: function) for row in rows), strict=True)
    return list(captions), list(metadata)


def tables(rows: list[Row]) -> Columns:
    """Renders the rows, looking numbers up in tables."""
    made = {function: cache(function) for function in (share, tenth, decimal, position)}
    captions, metadata = zip(*(python_row(row, made.__getitem__) for row in rows), strict=True)
    return list(captions), list(metadata)


def seconds(work: Callable[[], Any], times: int) -> float:
    """Returns the CPU seconds of the fastest of several runs.

    The fastest counts because on a shared machine other processes slow the others down.
    """
    best = float("inf")
    for _ in range(times):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    """Reads the command line and measures both kinds of captions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="images; each gets eighteen captions (20000)")
    parser.add_argument("--template", action="append", default=[], help="a template file for OCR captions to time")
    count, templates = (given := parser.parse_args()).rows, given.template
    pa.set_cpu_count(1)
    time_ocr(make_rows(count))
    time_templates(make_rows(count), [*list_presets("ocr"), *templates])
    pick = random.Random(0)
    time_grounding([make_captions(pick) for _ in range(count)])


def time_ocr(rows: list[Row]) -> None:
    """Checks that the OCR baselines agree with the renderer, and prints the rates."""
    ocr = pa.array([row["ocr"] for row in rows], OCR_COLUMN.type)
    raws, uids = (pa.array([row[name] for row in rows], pa.string()) for name in ("raw", "uid"))

    columns = render_ocr_captions(ocr, raws, uids)
    captions = 12 * len(rows)
    characters = sum(len(caption["text"]) for row in columns.captions.to_pylist() for caption in json.loads(row))
    written = columns.captions.nbytes + columns.metadata.nbytes
    for name, baseline in (("f-strings", f_strings), ("tables", tables)):
        if baseline(rows) != (columns.captions.to_pylist(), columns.metadata.to_pylist()):
            raise SystemExit(f"the {name} baseline renders other columns than the Arrow renderer")

    taken = {
        "Arrow kernels": seconds(lambda: render_ocr_captions(ocr, raws, uids), 7),
        "Python, tables": seconds(lambda: tables(rows), 2),
        "Python, f-strings and Fraction": seconds(lambda: f_strings(rows), 2),
    }
    print(f"OCR: {len(rows):,} rows, {len(ocr.flatten()) / len(rows):.1f} lines each, {captions:,} captions of")
    print(f"{characters / captions:.0f} characters; {written / 1e6:.0f} MB of JSON with the metadata column; one core")
    print(f"{'':<32}{'captions/s':>12}{'MB/s':>8}{'times slower':>14}")
    for name, spent in taken.items():
        print(
            f"{name:<32}{captions / spent:>12,.0f}{written / spent / 1e6:>8.0f}{spent / taken['Arrow kernels']:>14.1f}"
        )


def time_templates(rows: list[Row], names: list[str]) -> None:
    """Prints the rates of OCR captions by templates. Fewer granularities share the cost of the metadata column."""
    ocr = pa.array([row["ocr"] for row in rows], OCR_COLUMN.type)
    raws, uids = (pa.array([row[name] for row in rows], pa.string()) for name in ("raw", "uid"))
    sizes = {"width": pa.array([1024] * len(rows), pa.int32()), "height": pa.array([768] * len(rows), pa.int32())}
    print(f"\nOCR by templates: {len(rows):,} rows; one core")
    print(f"{'':<32}{'captions/s':>12}{'MB/s':>8}")
    for name in names:
        template = open_template(name, "ocr").template

        def render(template: CaptionTemplate = template) -> OcrColumns:
            return render_ocr_captions(ocr, raws, uids, template=template, sizes=sizes)

        written, spent = sum(column.nbytes for column in render()), seconds(render, 7)
        captions = 2 * len(template.granularities) * len(rows)
        print(f"{name[-31:]:<32}{captions / spent:>12,.0f}{written / spent / 1e6:>8.0f}")


def time_grounding(rows: list[Row]) -> None:
    """Prints the rates of grounding captions."""
    boxes = pa.array([row["boxes"] for row in rows], BOXES_COLUMN.type)
    raws, others = (pa.array([row[name] for row in rows], pa.string()) for name in ("raw", "other"))
    print(f"\ngrounding: {len(rows):,} rows, {len(boxes.flatten()) / len(rows):.1f} things each; one core")
    print(f"{'':<32}{'captions/s':>12}{'MB/s':>8}")
    for name, bases in (("over the alt text", None), ("over another caption", others)):
        columns = grounding.render_grounding_captions(boxes, raws, None, bases)
        written = columns.captions.nbytes + columns.metadata.nbytes
        spent = seconds(lambda bases=bases: grounding.render_grounding_captions(boxes, raws, None, bases), 3)  # type: ignore[misc]
        print(f"{name:<32}{6 * len(rows) / spent:>12,.0f}{written / spent / 1e6:>8.0f}")


if __name__ == "__main__":
    main()
