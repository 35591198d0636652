"""Measures captions per second on one core: the caption tagger (Aho-Corasick) against a regex and a plain loop.

    python benchmarks/caption_tags.py [--captions 20000]

All three search for the shipped vocabulary and its plurals in the same captions of 10 to 20 words, of which one in five
is an entry, and find the same mentions (checked). The regex is one alternation, longest entry first, tried at the start
of every word; the loop tries every entry at every word. Both read plain ASCII only.
"""

import argparse
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from curation.engines.tags.runtime.caption import CaptionTags, build_caption_patterns

OTHERS = """
    the of in with and a on white beautiful vintage large from for stock best new 2019 view free shipping luxury how to
    by modern at background Paris New York made after old design ideas home day high quality
""".split()  # noqa: SIM905

Mentions = list[tuple[str, int, int]]


def make_captions(names: Sequence[str], count: int) -> list[str]:
    """Returns `count` random captions of 10 to 20 words, of which about one in five is an entry."""
    pick = random.Random(0)
    return [
        " ".join(
            pick.choice(names if pick.random() < 0.2 else OTHERS) for _ in range(pick.randint(10, 20))
        ).capitalize()
        + pick.choice((".", "", ", 1950s"))
        for _ in range(count)
    ]


def by_regex(patterns: dict[tuple[str, ...], str], captions: Iterable[str]) -> list[Mentions]:
    """Finds the mentions by one alternation, compiled before any caption is read."""
    entries = sorted(patterns, key=len, reverse=True)
    alternation = "|".join(r"(?:\s+|[-_'])".join(map(re.escape, words)) for words in entries)
    found = re.compile(rf"(?<![a-z0-9])(?=({alternation})(?![a-z0-9]))", re.IGNORECASE)
    words = re.compile("[a-z0-9]+")

    def spans(caption: str, start: int, end: int) -> list[tuple[int, int]]:
        at_words = [match.span(1) for match in found.finditer(caption, start, end)]
        if all(one[1] <= other[0] for one, other in pairwise(at_words)):
            return at_words
        first, last = max(at_words, key=lambda span: (span[1] - span[0], -span[0]))
        return [*spans(caption, start, first), (first, last), *spans(caption, last, end)]

    return [
        [(patterns[tuple(words.findall(caption[i:j].lower()))], i, j) for i, j in spans(caption, 0, len(caption))]
        for caption in captions
    ]


def by_loop(patterns: dict[tuple[str, ...], str], captions: Iterable[str]) -> list[Mentions]:
    """Finds the mentions by trying every entry at every word, the straightforward way."""
    word = re.compile(r"[a-z0-9]+|[^\sa-z0-9'_-]")
    lists = []
    for caption in captions:
        matches = list(word.finditer(caption.lower()))
        words = tuple(match[0] for match in matches)
        mentions = [
            (name, matches[place].start(), matches[place + len(entry) - 1].end())
            for place in range(len(words))
            for entry, name in patterns.items()
            if words[place : place + len(entry)] == entry
        ]
        kept: Mentions = []
        for name, start, end in sorted(mentions, key=lambda mention: (mention[1] - mention[2], mention[1])):
            if all(end <= first or last <= start for _, first, last in kept):
                kept.append((name, start, end))
        lists.append(sorted(kept, key=lambda mention: mention[1]))
    return lists


def seconds(work: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Returns the CPU seconds of the fastest of several runs, and the result.

    The fastest counts because on a shared machine other processes slow the others down.
    """
    best, found = float("inf"), None
    for _ in range(times):
        start = time.process_time()
        found = work()
        best = min(best, time.process_time() - start)
    return best, found


def main() -> None:
    """Reads the command line, checks that all three agree, and prints their rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=20_000, help="number; the baselines get one in 100 (20000)")
    count = parser.parse_args().captions
    engine = CaptionTags()
    names = engine.vocabulary.names
    patterns = build_caption_patterns(names)
    captions = make_captions(names, count)
    few = captions[: max(1, count // 100)]

    ours, tagged = seconds(lambda: engine.annotate([], captions), 7)
    mentions = [[(tag.name, tag.start, tag.end) for tag in tags] for tags in tagged]
    regex, by_the_regex = seconds(lambda: by_regex(patterns, few), 2)
    loop, by_the_loop = seconds(lambda: by_loop(patterns, few), 2)
    if not mentions[: len(few)] == by_the_regex == by_the_loop:
        raise SystemExit("the baselines do not find the tagger's mentions")
    found = sum(map(len, mentions))
    print(f"{len(names):,} entries, {len(patterns):,} with plurals; {count:,} captions of {found / count:.1f} mentions")
    print(f"{'':<14}{'captions/s':>12}{'times slower':>14}")
    ours /= count
    for name, spent in (("Aho-Corasick", ours), ("regex", regex / len(few)), ("loop", loop / len(few))):
        print(f"{name:<14}{1 / spent:>12,.0f}{spent / ours:>14.1f}")


if __name__ == "__main__":
    main()
