"""Defines the words that the demo detector knows, and the WordPiece vocabulary that spells everything else."""

from typing import Final

SHAPES: Final = ("circle", "square", "triangle", "star", "heart", "cross", "arrow")

THINGS: Final = (
    "stop sign",
    "house",
    "tree",
    "car",
    "sun",
    "flower",
    "boat",
    "cup",
    "fish",
    "cloud",
    "umbrella",
    "mushroom",
    "clock",
)

COLOURS: Final = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")

NOUNS: Final = SHAPES + THINGS

# A shape is named with or without its colour; a thing is named without it.
LABELS: Final = NOUNS + tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)

# Grounding DINO splits a prompt into phrases at ids that transformers hard-codes; they are those of BERT.
_FIXED: Final = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}

_CHARACTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_PUNCTUATION: Final = "!\"#$%&'()*+,-/:;<=>@[]^_`{|}~"


def strip_colour(label: str) -> str:
    """Returns the label without its colour."""
    colour, _, rest = label.partition(" ")
    return rest if colour in COLOURS else label


def build_wordpieces() -> list[str]:
    """Returns the vocabulary in the order of its ids, with fillers at the ids that have no piece or word."""
    words = sorted({word for label in LABELS for word in label.split()})
    pieces = [*_PUNCTUATION, *_CHARACTERS, *(f"##{character}" for character in _CHARACTERS), *words]
    size = max(_FIXED.values()) + 1
    table = [f"[unused{index}]" for index in range(size)]
    for piece, index in _FIXED.items():
        table[index] = piece
    start = _FIXED["[MASK]"] + 1
    table[start : start + len(pieces)] = pieces
    return table
