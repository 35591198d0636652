"""Defines the tokens between the texts and images of a sample, which also decide how long it is.

A document is its parts in order. `<|endofchunk|>` ends the text of an image: it precedes each image but the first, and
the end of a document with images; a captioned image is a document with one image. A line break separates two texts in
a row. The tokenizer's end of text ends the sample. All of these are trained on: a model that never saw where a caption
ends can't stop after one, which few-shot prompts rely on. The positions of images are not trained on.
"""

from dataclasses import dataclass

from training.data.chat import ChatTemplate, Ids
from training.data.options import DataOptions
from training.model.tokens import TextTokenizer


@dataclass(frozen=True, slots=True)
class Markup:
    """Holds the tokens of a document other than those of its texts."""

    image: int
    tokens_per_tile: int
    end_of_chunk: Ids  # one, or none
    joint: Ids  # between two texts
    end: int
    pad: int
    chat: ChatTemplate

    @classmethod
    def from_tokenizer(cls, tokenizer: TextTokenizer, options: DataOptions, tokens_per_tile: int) -> "Markup":
        """Builds the markup for a tokenizer and the number of tokens that a tile becomes."""
        special = tokenizer.special
        return cls(
            image=special.image,
            tokens_per_tile=tokens_per_tile,
            end_of_chunk=(special.end_of_chunk,) if options.end_of_chunk else (),
            joint=tuple(tokenizer.encode("\n")),
            end=special.end,
            pad=special.pad,
            chat=ChatTemplate.from_tokenizer(tokenizer, options.system_prompt),
        )

    def build_closing(self, images: int) -> Ids:
        """Returns the tokens that end a document with this number of images."""
        return (*(self.end_of_chunk if images else ()), self.end)
