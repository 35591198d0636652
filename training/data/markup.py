"""What stands between the texts and images of a sample, in tokens, and so how long a sample is.

A document is its parts in order. `<|endofchunk|>` ends what was said of an image: it stands before each image but the
first, and before the end of a document with images; a captioned image is one of one image. Two texts in a row are set
apart by a line break. The sample's end is the tokenizer's end of text. All of these are learnt: a model that was never
shown where a caption ends can't stop behind one, which few-shot prompts rely on. The images' own positions are not.
"""

from dataclasses import dataclass

from training.data.chat import ChatTemplate, Ids
from training.data.options import DataOptions
from training.model.tokens import TextTokenizer


@dataclass(frozen=True, slots=True)
class Markup:
    """The tokens of a document besides its texts."""

    image: int
    tokens_per_tile: int  # of an image
    end_of_chunk: Ids  # one, or none
    joint: Ids  # between two texts
    end: int
    pad: int
    chat: ChatTemplate

    @classmethod
    def of(cls, tokenizer: TextTokenizer, options: DataOptions, tokens_per_tile: int) -> "Markup":
        """By a tokenizer, and how many tokens a tile becomes."""
        special = tokenizer.special
        return cls(
            image=special.image,
            tokens_per_tile=tokens_per_tile,
            end_of_chunk=(special.end_of_chunk,) if options.end_of_chunk else (),
            joint=tuple(tokenizer.encode("\n")),
            end=special.end,
            pad=special.pad,
            chat=ChatTemplate.of(tokenizer, options.system),
        )

    def closing(self, images: int) -> Ids:
        """What ends a document."""
        return (*(self.end_of_chunk if images else ()), self.end)
