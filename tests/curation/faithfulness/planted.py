"""Writes captions from ground truth, and plants errors in them. It shares no code with the checker.

A caption is a list of sentences, each with a slot that says something about the picture: a quotation, a thing, or a
count of things. Sentences that say nothing about it, and ones that invite a false alarm, stand between them.
"""

import random
from collections import Counter
from dataclasses import dataclass, field, replace

NUMBERS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

TEXT_SENTENCES = (
    'A sign reads "{}".',
    "The words “{}” are printed near the top.",
    "The label says '{}' in large letters.",
    "One line of text, «{}», stands out.",
    'Below it, "{}" is written in small type.',
    "In the middle, the lettering spells “{}”.",
)
THING_SENTENCES = (
    "{} is visible in the picture.",
    "The picture also shows {}.",
    "In the background, {} can be made out.",
    "{} takes up much of the left side, e.g. the lower corner.",
    "On closer inspection there is {} as well.",
)
COUNT_SENTENCES = (
    "There are {} in the picture.",
    "{} can be seen here.",
    "The photo, taken by Mr. Jones, shows {}.",
    "We count {} in all.",
)
FILLERS = (
    "The light is soft and even.",
    "It was taken at approx. 3.30 p.m. on a Sunday.",
    "The colours recall a painting of the 1920s.",
    "The whole scene feels calm, as if time had stopped.",
    "The style is close to that of J. R. Smith.",
    "Shadows fall to the right.",
)
TRAPS = (  # {} is a thing that the detector was asked for and that is not there
    "There is no {} in it.",
    "One shape in the distance looks like a {}.",
    "It is shown without a {}.",
    "Its title, according to the page, is the so-called “{}”.",
    "A small {}-shaped stain is in one corner.",
)


@dataclass(frozen=True)
class Picture:
    """The truth of a picture: lines of text, the number of each thing, and the names that a detector was asked for."""

    lines: tuple[str, ...] | None = None
    things: Counter[str] = field(default_factory=Counter)
    asked: tuple[str, ...] = ()

    @property
    def absent(self) -> list[str]:
        """Things that were asked for and are not part of what is there: a circle is part of a red circle."""
        return [name for name in self.asked if not any(name in thing or thing in name for thing in self.things)]


@dataclass(frozen=True)
class Statement:
    """A sentence, of which `slot` says something of the picture: `kind` is word, count, thing, or empty."""

    sentence: str
    slot: str = ""
    kind: str = ""
    name: str = ""  # of the thing

    @property
    def text(self) -> str:
        text = self.sentence.format(self.slot)
        return text[0].upper() + text[1:]


def plural(name: str) -> str:
    if name in ("sheep", "fish"):
        return name
    if name.endswith("person"):
        return f"{name.removesuffix('person')}people"
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"


def number_word(rng: random.Random, count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) and rng.random() < 0.7 else str(count)


def count_phrase(rng: random.Random, name: str, count: int) -> str:
    adjective = rng.choice(("", "", "", "", "large ", "small "))
    return f"{number_word(rng, count)} {adjective}{plural(name) if count != 1 else name}"


def thing_phrase(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def pick_words(rng: random.Random, line: str) -> str:
    """A line, or some consecutive words of a long one."""
    words = line.split()
    length = rng.randint(1, min(6, len(words)))
    start = rng.randrange(len(words) - length + 1)
    return " ".join(words[start : start + length])


def is_quotable(text: str) -> bool:
    return sum(map(str.isalnum, text)) >= 2 and not set(text) & set("\"'“”«»{}‘’.")


def write_caption(rng: random.Random, picture: Picture) -> list[Statement]:
    """The statements of a true caption, each thing once, in any order, with fillers and traps between them."""
    statements = []
    for name, count in picture.things.items():
        if count == 1:
            statements.append(Statement(rng.choice(THING_SENTENCES), thing_phrase(name), "thing", name))
        else:
            phrase = count_phrase(rng, name, count)
            statements.append(Statement(rng.choice(COUNT_SENTENCES), phrase, "count", name))
    quotable = [text for line in picture.lines or () if is_quotable(text := pick_words(rng, line))]
    for text in rng.sample(quotable, min(3, len(quotable))):
        statements.append(Statement(rng.choice(TEXT_SENTENCES), text, "word"))
    statements += [Statement(text) for text in rng.sample(FILLERS, 2)]
    if picture.absent:
        trap = rng.choice(TRAPS)
        statements.append(Statement(trap, rng.choice(picture.absent)))
    rng.shuffle(statements)
    return statements


def join_statements(statements: list[Statement]) -> str:
    return " ".join(each.text for each in statements)


def plant(
    rng: random.Random, picture: Picture, statements: list[Statement], kind: str, words: list[str]
) -> tuple[str, tuple[int, int]] | None:
    """A caption with one error and the span of the wrong sentence; None if the caption offers no place for it.

    `words` are those of other pictures.
    """
    places = [place for place, each in enumerate(statements) if each.kind == kind]
    if kind == "thing" and picture.absent:
        wrong = Statement(rng.choice(THING_SENTENCES), thing_phrase(name := rng.choice(picture.absent)), "thing", name)
        place = rng.randrange(len(statements) + 1)
        changed = [*statements[:place], wrong, *statements[place:]]
    elif kind != "thing" and places:
        place = rng.choice(places)
        slot = statements[place].slot
        if kind == "word":
            parts = slot.split()
            at = rng.randrange(len(parts))
            read = " ".join(picture.lines or ()).lower()
            parts[at] = rng.choice([word for word in words if word.lower() not in read])
            slot = " ".join(parts)
        else:
            count = picture.things[statements[place].name]
            others = [other for other in range(max(2, count - 3), count + 4) if other != count]
            slot = count_phrase(rng, statements[place].name, rng.choice(others))
        changed = [*statements[:place], replace(statements[place], slot=slot), *statements[place + 1 :]]
    else:
        return None
    start = len(join_statements(changed[:place])) + bool(place)
    return join_statements(changed), (start, start + len(changed[place].text))
