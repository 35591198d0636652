"""Words of captions, against those of CoreNLP 3.4.1, the tokenizer that pycocoevalcap 1.2 brings."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from curation.scores.answers.ptb import split_caption, split_tokens

PUNCTUATION = {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"}  # as pycocoevalcap lists it
RECORDED = Path(__file__).parent / "support" / "ptb_tokens.tsv"
"""Lines, and the tokens that the jar's `PTBTokenizer -preserveLines -lowerCase` made of them on 2026-11-30."""

CAPTIONS = dict(line.split("\t") for line in RECORDED.read_text().splitlines())


@pytest.mark.parametrize("line", CAPTIONS)
def test_words_are_those_of_the_java_program(line: str) -> None:
    assert split_caption(line) == [token for token in CAPTIONS[line].split() if token not in PUNCTUATION]


def test_brackets_stay_as_words() -> None:
    """pycocoevalcap drops `-LRB-`, which the tokenizer has put in lower case by then."""
    assert split_caption("A man (left), with a [red] hat!") == [
        *("a", "man", "-lrb-", "left", "-rrb-", "with", "a", "-lsb-", "red", "-rsb-", "hat")
    ]


def test_lines_and_odd_characters() -> None:
    assert split_caption("a dog\non a\tmat\r\n") == ["a", "dog", "on", "a", "mat"]
    assert split_caption("a 💁 dog⚠\ufe0f") == ["a", "dog", "⚠"]
    assert split_caption(" \n ") == []
    assert split_caption("") == []


@pytest.mark.parametrize("part", ["a", "a-", "a.", "1,", "<a", "@", "a@", "a/", ":", "!", "http://", "www.", "a&"])
def test_long_runs_keep_each_character(part: str) -> None:
    assert "".join(split_tokens(part * 1000)) == part * 1000


@pytest.mark.slow
def test_web_texts_against_the_jar(data: Path, tmp_path: Path) -> None:
    """Skipped without Java and pycocoevalcap, which brings the jar."""
    found = importlib.util.find_spec("pycocoevalcap")
    java = shutil.which("java")
    if found is None or found.origin is None or java is None:
        pytest.skip("no Java or no pycocoevalcap")
    jar = Path(found.origin).parent / "tokenizer" / "stanford-corenlp-3.4.1.jar"
    texts = [path.read_text(errors="replace") for path in sorted(data.rglob("*.md"))]
    lines = [" ".join(line.split()) for text in texts for line in text.splitlines() if line.strip()]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n")
    command = [java, "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    done = subprocess.run([*command, str(tmp_path / "lines.txt")], capture_output=True, check=True, env=os.environ)
    tokens = [line.split() for line in done.stdout.decode().split("\n")]
    wanted = [[token for token in line if token not in PUNCTUATION] for line in tokens]
    equal = sum(split_caption(line) == words for line, words in zip(lines, wanted, strict=False))
    assert equal >= 0.98 * len(lines)
