"""Splits captions into words as pycocoevalcap does: by the rules of Stanford's PTB tokenizer, without punctuation.

pycocoevalcap runs the tokenizer of CoreNLP 3.4.1, a Java program, with `-preserveLines -lowerCase`, and drops the
tokens that are punctuation. Its list of these has `-LRB-`, but a bracket is `-lrb-` by then, so that brackets stay and
count as words; so do `!!` and a quotation mark that is taken for an inch. Otherwise tokens are those of the Penn
Treebank: `doesn't` is `does n't`, `dog's` is `dog 's`.

A rule is a pattern. The longest match wins, and the first of several as long; what a rule only looks ahead to counts.
The words are those of the Java program for 3,997 of 4,000 lines of captions and web pages, code among them.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_PUNCTUATION = frozenset(("''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"))
"""Those of pycocoevalcap that a token can be; its four brackets are in upper case, and no token is."""

_APOS = "(?:['\u0092\u2019´]|&apos;)"
_APOS_IN_WORD = "(?:['\u0092\u2019´`\u0091\u2018\u201b]|&apos;)"
_BRACKETS = ("-lrb-", "-rrb-", "-lsb-", "-rsb-", "-lcb-", "-rcb-")
_LETTER = r"[^\W\d_¼½¾⅓⅔¹²³]"
_ALNUM = "a-z0-9\u00c0-\u024f"
_THING = r"[^\W_]"  # a letter or a digit
_WORD = rf"{_LETTER}{_THING}*(?:[.!?]{_LETTER}{_THING}*)*"
_NUMBER = r"(?:\d*(?:[.:,]\d+)+|\d+)"
_PREFIX = rf"(?:[dol]{_APOS_IN_WORD}{_THING})?"
_ACRONYM = r"[a-z](?:\.[a-z])+"
_AUXILIARY = rf"{_APOS}(?:[msd]|re|ve|ll)"
_HYPHEN = "[-_\u058a\u2010\u2011]"
_ABBREVIATION = (
    "jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|thu(?:rs)?|fri|ala|ariz|calif|colo|conn|dak|fla|ga|ind"
    "|kans?|ky|md|mich|minn|mo|mont|neb|nev|okla|penn|tenn|va|vt|wisc?|wyo|inc|cos?|corp|ltd|plc|bancorp|bhd|assn|univ"
    "|intl|sys|tel|est|ext|sq|jr|bros|esq|etc|al|seq|mr|mrs|ms|drs?|profs?|sens?|reps?|attys?|lt|col|gen|messrs|govs?"
    "|adm|rev|maj|sgt|cpl|pvt|capt|ste?|ave|pres|lieut|rt|hon|brig|co?mdr|pfc|spc|supts?|det|mt|ft|adj|adv|asst|assoc"
    r"|ens|insp|sr|(?:ed|ph)\.d|vs|alex|wm|jos|cie|cf|treas|ph|invt|elec|natl|m[ft]g|dept|blvd|rd"
)
_FILE_ENDING = (
    "bat|bmp|bz2|c|class|cgi|cpp|dll|docx?|exe|gif|gz|h|html?|jar|java|jpe?g|mov|mp[34g]|pdf|php|pl|png|ppt|ps|py|sql"
    "|tar|txt|wav|x|xml|zip|3gp|wm[va]|avi|flv"
)
_REPLACED = str.maketrans(
    {"(": "-lrb-", ")": "-rrb-", "\u0092": "'", "\u2019": "'", "´": "'"}
    | dict.fromkeys(map(chr, (0xAD, *range(0xFE00, 0xFE10), 0x200B, 0x200E, 0x200F, 0xFEFF)), "")
)


class _Rule(NamedTuple):
    """Holds what a token is, what must follow it, and what it becomes; None: itself."""

    pattern: re.Pattern[str]
    ahead: re.Pattern[str] | None = None
    token: str | None = None


def _rule(pattern: str, ahead: str | None = None, token: str | None = None) -> _Rule:
    looked_at = None if ahead is None else re.compile(ahead, re.IGNORECASE)
    return _Rule(re.compile(pattern, re.IGNORECASE), looked_at, token)


_RULES = (
    *(_rule(first, rest) for first, rest in (("can", "not"), ("gon", "na"), ("got", "ta"), ("lem", "me"))),
    *(_rule(first, rest) for first, rest in (("gim", "me"), ("wan", "na"), (f"{_APOS}t", "(?:is|was)"))),
    _rule(r"</?[a-z][^<>]*>"),
    _rule("&(?:MD|mdash|ndash);|[\u0096\u0097\u2013-\u2015]", token="--"),
    _rule("&amp;", token="&"),
    _rule(_WORD, _AUXILIARY),
    _rule("[a-z]*[a-mo-z]", f"n{_APOS_IN_WORD}t"),
    _rule(_WORD),
    _rule(
        rf"{_APOS}n{_APOS}?|[ldj]{_APOS}|dunkin{_APOS}|somethin{_APOS}|ol{_APOS}|{_APOS}em|{_APOS}[2-9]0s|{_APOS}till?"
        rf"|(?-i:[A-HJ-XZn]){_APOS_IN_WORD}{_LETTER}{{2,}}|{_LETTER}+[aeiouy]{_APOS_IN_WORD}(?-i:[aeiouA-Z]){_LETTER}*|{_APOS}cause"
        r"|cont'd\.?|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l"
    ),
    _rule(f"y{_APOS}", _LETTER),
    _rule(r"(?:ftp|svn|https?|mailto)://[^\s\"<>|(){}\[\]]+[^\s\"'<>|.!?(){},;:&\[\]-]"),
    _rule(
        r"(?:www\.(?:[^\s\"<>|.!?(){},]+\.)+[a-z]{2,4}|(?:[^\s\"`'<>|.!?(){},\-_$]+\.)+(?:com|net|org|edu))"
        r"(?:/[^\s\"<>|()]+[^\s\"<>|.!?(){},-])?"
    ),
    _rule(r"[a-z0-9][^\s\"<>|()]*@(?:[^\s\"<>|().]+\.)*[^\s\"<>|().]+"),
    _rule(rf"{_THING}+(?:\.{_THING}+)*\.(?:{_FILE_ENDING})"),
    _rule(rf"@[a-z_]\w*|#{_LETTER}\w*{_THING}"),
    _rule(_AUXILIARY, "[^a-z]"),
    _rule(f"n{_APOS_IN_WORD}t"),
    _rule(r"\d{1,2}[-/]\d{1,2}[-/]\d{2,4}"),
    _rule(f"[-+]?{_NUMBER}"),
    _rule(r"(?:\d{1,4}[- \u00a0])?\d{1,4}(?:\\?/|\u2044)\d{1,4}"),
    *(_rule(sign, token=text) for sign, text in (("¼", "1/4"), ("½", "1/2"), ("¾", "3/4"), ("⅓", "1/3"), ("⅔", "2/3"))),
    _rule(rf"{_THING}+(?:-{_LETTER}+){{0,2}}(?:\\?/{_THING}+(?:-{_LETTER}+){{0,2}}){{1,2}}"),
    _rule(r"(?-i:[A-Z])*\$|#|c\+\+|c#"),
    *(_rule(sign, token=text) for sign, text in (("¢", "cents"), ("£", "#"), ("[€¤\u0080]", "$"))),
    _rule(rf"(?:{_ABBREVIATION}|{_ACRONYM}|[a-z]|a\.k\.a)\."),
    _rule(_ACRONYM, r"\s"),
    _rule(r"(?:ca|figs?|prop|nos?|sect?s?|arts?|paras?|bldg|pp|op|approx|rs)\.", r"[\s\u00a0]?\d"),
    _rule(rf"{_APOS}\d\d", r"\s"),
    _rule(f"{_WORD}\\.", "[,;:]"),
    _rule(r"(?:\(\d{2,3}\)[ \u00a0]?|(?:\+\+?)?(?:\d{2,4}[- \u00a0])?\d{2,4}[- \u00a0])\d{3,4}[- \u00a0]?\d{3,5}"),
    _rule('"|&quot;', "[a-z0-9$]", token="``"),
    _rule("\"|&quot;|[`'\u0091\u0092\u2018\u2019]'", token="''"),
    _rule(r"(?-i:[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]])", "[^a-z]"),
    *(_rule(re.escape(sign), token=text) for sign, text in zip("()[]{}", _BRACKETS, strict=True)),
    _rule("-{3,4}", token="--"),
    _rule("-+"),
    _rule(r"\.{3,}|[\u0085\u2026]|\.[ \u00a0](?:\.[ \u00a0])+\.", token="..."),
    _rule(r"@+|#+|_+|\*+|(?:\\\*){1,3}|[?!]+"),
    _rule(rf"{_THING}[{_ALNUM}.,\u00ad]*(?:-(?:[{_ALNUM}\u00ad]+|{_ACRONYM}\.))+"),
    _rule(rf"{_PREFIX}(?:{_THING}+|[-+]?{_NUMBER})(?:{_HYPHEN}{_PREFIX}(?:{_THING}+|{_NUMBER}))*"),
    _rule(r"(?-i:[A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+)"),
    _rule("'", r"[a-z]\S", token="`"),
    _rule("['\u0092\u2019\u203a´]", token="'"),
    _rule("[`\u0091\u2018\u201b\u2039]", token="`"),
    _rule("[\u0093\u201c\u00ab]", token="``"),
    _rule("[\u0094\u201d\u00bb]", token="''"),
    _rule("[\U00010000-\U0010ffff]", token=""),  # the tokenizer knows the basic plane alone
    _rule(r"\S"),
)


def split_caption(caption: str) -> list[str]:
    """Returns the words of a caption, in lower case and without punctuation."""
    tokens = split_tokens(" ".join(caption.splitlines()))
    # a number such as `1 1/2` is one token, with a space that the scorers of pycocoevalcap split at again
    return [word for token in tokens if token not in _PUNCTUATION for word in token.split()]


def split_tokens(line: str) -> Iterator[str]:
    """Yields the tokens of a line, in lower case."""
    line += "\n"  # rules look ahead to it
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        end, token = _match(line, at)
        text = line[at:end].translate(_REPLACED) if token is None else token
        if text:
            yield text.lower()
        at = end


def _match(line: str, at: int) -> tuple[int, str | None]:
    """Returns where the token that begins at a place ends, and what it becomes."""
    longest, end, token = at, at + 1, None
    for rule in _RULES:
        found = rule.pattern.match(line, at)
        if found is None:
            continue
        reached = found.end()
        if rule.ahead is not None:
            ahead = rule.ahead.match(line, reached)
            if ahead is None:
                continue
            reached = ahead.end()
        if reached > longest:
            longest, end, token = reached, found.end(), rule.token
    return end, token
