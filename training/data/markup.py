"""Defines the tokens between the texts and images of a sample, which also decide how long it is.

A document is its parts in order. `<|endofchunk|>` ends the text of an image: it precedes each image but the first, and
the end of a document with images; a captioned image is a document with one image. A line break separates two texts in
a row. The tokenizer's end of text ends the sample. All of these are trained on: a model that never saw where a caption
ends can't stop after one, which few-shot prompts rely on. The positions of images are not trained on.
"""

from dataclasses import dataclass

from schemas.errors import UsageError
from training.data.chat import ChatTemplate, Ids, find_document_bos
from training.data.options import DataOptions
from training.data.templates.prompts import resolve_prompts
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
    bos: Ids  # before a document; one, or none
    chat_or_fault: ChatTemplate | str
    fixed_sampling: bool = False  # an image of any number of tiles has the tokens of one

    @classmethod
    def from_tokenizer(
        cls, tokenizer: TextTokenizer, options: DataOptions, tokens_per_tile: int, fixed_sampling: bool = False
    ) -> "Markup":
        """Builds the markup for a tokenizer and the number of tokens that a tile becomes."""
        special, prompts = tokenizer.special, resolve_prompts(tokenizer, options)
        return cls(
            image=special.image,
            tokens_per_tile=tokens_per_tile,
            end_of_chunk=(special.end_of_chunk,) if options.end_of_chunk else (),
            joint=tuple(tokenizer.encode("\n")),
            end=special.end,
            pad=special.pad,
            bos=find_document_bos(tokenizer, prompts),
            chat_or_fault=prompts.template_fault or ChatTemplate.from_prompts(tokenizer, prompts),
            fixed_sampling=fixed_sampling,
        )

    @property
    def chat(self) -> ChatTemplate:
        """Returns the template of conversations. Raises `UsageError` when the tokenizer's can't be used."""
        if isinstance(self.chat_or_fault, str):
            raise UsageError(self.chat_or_fault)
        return self.chat_or_fault

    @property
    def fingerprint(self) -> str:
        """Describes all that a sample's tokens depend on; what older tables lack is named only where it is used."""
        chat = self.chat_or_fault if isinstance(self.chat_or_fault, str) else self.chat_or_fault.fingerprint
        names = ("image", "tokens_per_tile", "end_of_chunk", "joint", "end", "pad")
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        added = f" bos={self.bos}" * bool(self.bos) + " fixed_sampling" * self.fixed_sampling
        return f"Markup({values}, chat={chat})" + added

    def count_image_tokens(self, tiles: int) -> int:
        """Counts the tokens of an image of this number of tiles."""
        return (min(tiles, 1) if self.fixed_sampling else tiles) * self.tokens_per_tile

    def build_closing(self, images: int) -> Ids:
        """Returns the tokens that end a document with this number of images."""
        return (*(self.end_of_chunk if images else ()), self.end)
