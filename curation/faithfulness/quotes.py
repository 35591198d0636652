"""Finds what a caption quotes, in the quotation marks of several scripts, and whether it quotes visible text.

A quotation counts as visible text only if words near it say so ("a sign that reads ...", "the words ..."): captions
also quote titles, names, and words that they do not mean, or say are not there.
"""

import re
from dataclasses import dataclass

_MAX_LENGTH = 300  # characters; a longer quotation is more likely two marks that do not belong together

_PATTERNS = (
    r'(?<!\d)"[^"\n]{1,@}"',  # after a digit the mark means inches
    r"(?<![\w'])'(?=[^\s'])(?:[^'\n]|(?<=\w)'(?=\w)){1,@}?(?<=\S)'(?!\w)",  # an apostrophe is between two letters
    r"‘(?:[^‘’\n]|(?<=\w)’(?=\w)){1,@}’(?!\w)",
    r"“[^“”\n]{1,@}”",
    r"„[^„“”\n]{1,@}[“”]",
    r"(?<![\w.,!?])”[^“”\n]{1,@}”",  # Swedish
    r"«[^«»\n]{1,@}»",
    r"(?<!\w)»[^«»\n]{1,@}«",
    r"‹[^‹›\n]{1,@}›",
    r"‚[^‚‘’\n]{1,@}[‘’]",
    r"「[^「」\n]{1,@}」",
    r"『[^『』\n]{1,@}』",
    r"＂[^＂\n]{1,@}＂",
)
_QUOTED = re.compile("|".join(_PATTERNS).replace("@", str(_MAX_LENGTH)))

_CUES = re.compile(
    r"\b(?:says?|saying|reads?|reading|spell(?:s|ed|ing)?|stat(?:es|ing)|text|words?|wording|letters?|lettering|"
    r"writ(?:ten|ing)|label(?:s|l?ed|l?ing)?|inscri(?:bed|ption)|print(?:s|ed)?|engraved|stamped|marked|slogan|headline|"
    r"caption(?:ed)?|phrase|message|display(?:s|ing)|signs?|signage|bearing|"
    r"Aufschrift|steht|Schild|Schriftzug|Wort|Worte|"  # German
    r"texte|mots?|inscription|écrit|panneau|"  # French
    r"texto|letrero|palabras?|escrito|dice|"  # Spanish
    r"надпис\w*|написан\w*|слов\w*|табличк\w*)\b"  # Russian
    r"|写着|写有|寫著|字样|字樣|文字|書かれ|招牌|标志|標誌|標識|라고|문구|글자",
    re.IGNORECASE,
)
_OTHER_MEANING = re.compile(
    r"\b(?:titled|entitled|called|named|nicknamed|known as|so-called|movie|film|song|album|novel|book|series|episode)"
    r"\W*$",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:no|not|none|nothing|never|without|neither|nor|cannot|\w+n['’]t)\b", re.IGNORECASE)
_PART_END = re.compile(r",|\b(?:and|but)\b", re.IGNORECASE)  # a denial reaches no further
_CLAUSE_END = re.compile(r"[.!?;](?=\s|$)|[。！？；\n]")
_BEFORE, _AFTER = 60, 24  # characters in which a cue counts: ten words before, four after


@dataclass(frozen=True, slots=True)
class Quote:
    """Holds a quotation, `caption[start:end]` with its marks. `text` is what is between them."""

    start: int
    end: int
    text: str
    is_visible_text: bool


def find_quotes(caption: str) -> list[Quote]:
    """Returns the quotations in a caption, in its order."""
    found = [match.span() for match in _QUOTED.finditer(caption)]
    masked = list(caption)  # so that the words of one quotation are no cue for another
    for start, end in found:
        masked[start:end] = " " * (end - start)
    around = "".join(masked)
    return [Quote(start, end, caption[start + 1 : end - 1], _has_cue(around, start, end)) for start, end in found]


def _has_cue(text: str, start: int, end: int) -> bool:
    """Returns whether the words around a span of the text, in the same clause, say that it quotes visible text."""
    before = _CLAUSE_END.split(text[max(0, start - _BEFORE) : start])[-1]
    if _OTHER_MEANING.search(before):
        return False
    after = _CLAUSE_END.split(text[end : end + _AFTER])[0]
    if _DENIED.search(_PART_END.split(before)[-1]) or _DENIED.search(_PART_END.split(after)[0]):
        return False
    return bool(_CUES.search(before) or _CUES.search(after))
