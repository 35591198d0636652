"""Prepares texts and images for an exported model, as training formatted them."""

from itertools import islice
from typing import Any

import torch
from transformers import BatchFeature
from transformers.processing_utils import MultiModalData, ProcessorMixin

from training.exports.hf.grids import list_image_grids


class ShardloomProcessor(ProcessorMixin):
    """Replaces each image's token in a text by as many as the image has, and cuts the image into tiles."""

    auto_map: dict[str, str]

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        tokens_per_tile: int = 1,
        image_token: str = "<image>",
        max_instruction: int = 0,
        turn_marks: list[str] | None = None,
    ) -> None:
        """Makes the processor.

        `max_instruction` is not 0 where the connector is conditioned on the words of the first user turn, which stand
        between the two `turn_marks`, and of which it uses so many tokens at most.
        """
        self.tokens_per_tile, self.image_token = tokens_per_tile, image_token
        self.max_instruction, self.turn_marks = max_instruction, turn_marks or ["", ""]
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> BatchFeature:
        """Returns the model's inputs for one text or several, with an image for each `<image>` in them."""
        texts = [text] if isinstance(text, str) else text
        out = super().__call__(images=images, text=text, **kwargs)
        if self.max_instruction and images is not None and texts is not None:
            self._add_instructions(out, texts)
        return out

    def replace_image_token(self, image_inputs: Any, image_idx: int, **kwargs: Any) -> str:
        """Returns the tokens of an image."""
        columns, rows = list_image_grids(image_inputs["tile_grids"])[image_idx]
        return self.image_token * self._count_tokens(columns * rows + 1)

    def _get_num_multimodal_tokens(self, image_sizes: Any = None, **kwargs: Any) -> MultiModalData:
        """Counts the tokens and the tiles of images of these heights and widths, which vLLM asks for."""
        if image_sizes is None:
            return MultiModalData()
        tiles = [self.image_processor.count_tiles(height, width) for height, width in image_sizes]
        return MultiModalData(num_image_tokens=list(map(self._count_tokens, tiles)), num_image_patches=tiles)

    def _count_tokens(self, tiles: int) -> int:
        return self.tokens_per_tile * (1 if self.image_processor.tiling["fixed_sampling"] else tiles)

    def _add_instructions(self, out: BatchFeature, texts: list[str]) -> None:
        """Adds the words that condition the images of each text, a row for each tile."""
        grids = iter(list_image_grids(out["tile_grids"]))
        rows: list[list[int]] = []
        for text in texts:
            words = self.tokenizer(self._find_instruction(text), add_special_tokens=False)["input_ids"]
            for columns, lines in islice(grids, text.count(self.image_token)):
                rows += [words[: self.max_instruction]] * (columns * lines + 1)
        length = max(1, *map(len, rows))
        ids = [row + [self.tokenizer.pad_token_id] * (length - len(row)) for row in rows]
        mask = [[True] * len(row) + [False] * (length - len(row)) for row in rows]
        as_tensors = isinstance(out["tile_grids"], torch.Tensor)
        out["instruction_ids"] = torch.tensor(ids) if as_tensors else ids
        out["instruction_mask"] = torch.tensor(mask) if as_tensors else mask

    def _find_instruction(self, text: str) -> str:
        """Returns the words of the first user turn; the whole text where it has no turns."""
        opening, closing = self.turn_marks
        words = text
        if opening and opening in text:
            words = text.partition(opening)[2]
            words = words.partition(closing)[0] if closing else words
        return words.replace(f"{self.image_token}\n", "").replace(self.image_token, "")
