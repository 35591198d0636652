"""Reads the pages of `view` as a browser's parser does, without a browser."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

EMPTY_TAGS = {"meta", "img", "input"}

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    '"><img src=x onerror=alert(3)>',
    "' onmouseover='alert(4)",
    "<!-- --><style>*{display:none}</style>",
    "</p></article><iframe src=https://example.org>",
    "<svg onload=alert(5)>",
    "javascript:alert(6)",
    "{{ 7 * 7 }} {% include 'page.css' %}",
    "&lt;b&gt; &amp;amp;",
    "\u202egnp.exe\u2066 \x00\x1b[2J\x07",
    "line\nbreak\u2028and\u2029more",
    "\U0001f600 مرحبا שלום नमस्ते",
]
"""Texts that a page must show as they are."""


@dataclass
class Element:
    """An element of a page, with the text in it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    inside: list["Element"] = field(default_factory=list)

    def find_all(self, tag: str, **attributes: str) -> list["Element"]:
        """The elements inside with this tag; `class_` names one of their classes."""
        return [
            one
            for each in self.inside
            for one in [each, *each.find_all(tag, **attributes)]
            if one.fits(tag, attributes)
        ]

    def fits(self, tag: str, attributes: dict[str, str]) -> bool:
        """Whether it has the tag and the attributes."""
        wanted = dict(attributes)
        name = wanted.pop("class_", None)
        classes = self.attributes.get("class", "").split()
        return self.tag == tag and (name is None or name in classes) and wanted.items() <= self.attributes.items()

    def read(self) -> str:
        """All of its text, with that of the elements inside where they stand."""
        return self.text


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("page", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].inside.append(element)
        if tag not in EMPTY_TAGS:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> in <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


def read_page(data: bytes) -> Element:
    """The page's elements. Fails where a tag is not closed by its own end."""
    reader = _Reader()
    reader.feed(data.decode())
    reader.close()
    assert reader.open == [reader.root]
    return reader.root


def list_elements(element: Element) -> list[Element]:
    """All elements inside, in their order."""
    return [one for each in element.inside for one in [each, *list_elements(each)]]
