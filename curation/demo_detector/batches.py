"""Makes training batches of scenes: pixels with their padding, a prompt, and the tokens that name each object."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from transformers import BertTokenizer
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

from curation.demo_detector.scenes import Box, draw_scene
from curation.demo_detector.vocabulary import COLOURS, NOUNS, SHAPES, strip_colour

MAX_OBJECTS = 4


@dataclass(frozen=True, slots=True)
class SceneBatch:
    """Holds B scenes of H x W pixels, prompts of T tokens, at most M objects each."""

    pixel_values: torch.Tensor  # B, 3, H, W
    pixel_mask: torch.Tensor  # B, H, W: 1 where there is a picture
    input_ids: torch.Tensor  # B, T
    attention_mask: torch.Tensor  # B, T
    boxes: torch.Tensor  # B, M, 4: centre x and y, width, height, as shares of the picture without its padding
    tokens: torch.Tensor  # B, M, T: 1 at the tokens that name the object; all 0 where there is no object

    def to(self, device: torch.device) -> "SceneBatch":
        return SceneBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class Example:
    """Holds one scene: pixels of 3 x height x width, the prompt, boxes as x1, y1, x2, y2 from 0 to 1."""

    pixel_values: torch.Tensor
    input_ids: list[int]
    boxes: list[Box]
    tokens: list[list[int]]  # for each object, the positions in the prompt that name it


class SceneBatches:
    """Draws batches that depend only on the seed and their number, whichever process draws which part of them.

    Of five batches two are landscape and two portrait, which keeps padding small; the fifth has both.
    """

    def __init__(self, processor: GroundingDinoImageProcessorPil, tokenizer: BertTokenizer, seed: str) -> None:
        self._processor = processor
        self._pieces = PromptEncoder(tokenizer)
        self._seed = seed

    def draw(self, number: int, rows: Iterable[int]) -> SceneBatch:
        """Returns these rows of the batch with this number."""
        return collate([self._draw_example(number, row) for row in rows])

    def _draw_example(self, number: int, row: int) -> Example:
        rng = random.Random(f"{self._seed}:{number}:{row}")
        landscape = (True, False, True, False, rng.random() < 0.5)[number % 5]
        scene = draw_scene(rng, sample_picture_size(rng, landscape))
        pixels = self._processor(scene.image, do_pad=False, return_tensors="pt").pixel_values[0]
        phrases = sample_training_phrases(rng, [label for label, _ in scene.objects])
        ids, places = self._pieces.encode(phrases)
        tokens = [
            [
                place
                for phrase, spots in zip(phrases, places, strict=True)
                if is_named_by(label, phrase)
                for place in spots
            ]
            for label, _ in scene.objects
        ]
        return Example(pixels, ids, [box for _, box in scene.objects], tokens)


class PromptEncoder:
    """Holds the token ids of phrases; each phrase is tokenised once."""

    def __init__(self, tokenizer: BertTokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    def encode(self, phrases: Sequence[str]) -> tuple[list[int], list[range]]:
        """Returns the ids of "first. second." and the range of each phrase's ids in them."""
        ids, places = [101], []
        for phrase in phrases:
            if phrase not in self._known:
                self._known[phrase] = self._tokenizer.encode(phrase, add_special_tokens=False)
            pieces = self._known[phrase]
            places.append(range(len(ids), len(ids) + len(pieces)))
            ids += [*pieces, 1012]
        return [*ids, 102], places


def is_named_by(label: str, phrase: str) -> bool:
    """Returns whether a phrase means an object with this label: "red circle" and "circle" both mean a red circle."""
    return phrase in (label, strip_colour(label))


def sample_picture_size(rng: random.Random, landscape: bool) -> tuple[int, int]:
    """Returns the width and height of a picture in pixels, up to three times as large as the model's input."""
    short = rng.randint(80, 240)
    long = round(short * rng.choice((1, rng.uniform(1, 1.4), 4 / 3, 1.5)))
    return (long, short) if landscape else (short, long)


def sample_training_phrases(rng: random.Random, labels: Sequence[str]) -> list[str]:
    """Returns most of the labels, some without their colours, and up to six phrases for absent things, shuffled.

    A label that is left out teaches the model to give no name to what the prompt does not name, instead of the most
    similar one.
    """
    named = [label for label in labels if rng.random() < 0.8]
    wanted = {strip_colour(label) if rng.random() < 0.25 else label for label in named}
    phrases = [*wanted, *sample_absent_phrases(rng, labels, rng.randint(0, 5))]
    if rng.random() < 0.2 or not phrases:
        phrases.append("".join(rng.choice("abcdefghijklmnoprstuvwy") for _ in range(rng.randint(2, 7))))
    phrases = sorted(set(phrases))
    rng.shuffle(phrases)
    return phrases


def sample_absent_phrases(rng: random.Random, labels: Sequence[str], count: int) -> list[str]:
    """Returns phrases that match no object; half of them, if possible, differ from an object only in colour."""
    phrases = []
    for _ in range(count):
        coloured = [label for label in labels if strip_colour(label) != label]
        if coloured and rng.random() < 0.5:
            phrase = f"{rng.choice(COLOURS)} {strip_colour(rng.choice(coloured))}"
        elif rng.random() < 0.5:
            phrase = f"{rng.choice(COLOURS)} {rng.choice(SHAPES)}"
        else:
            phrase = rng.choice(NOUNS)
        if not any(is_named_by(label, phrase) for label in labels):
            phrases.append(phrase)
    return sorted(set(phrases))


def collate(examples: Sequence[Example]) -> SceneBatch:
    """Stacks examples into a batch; pads pictures on the right and below, and prompts and objects at the end."""
    height, width = (max(one.pixel_values.shape[axis] for one in examples) for axis in (1, 2))
    length = max(len(one.input_ids) for one in examples)
    count = len(examples)
    batch = SceneBatch(
        torch.zeros(count, 3, height, width),
        torch.zeros(count, height, width, dtype=torch.long),
        torch.zeros(count, length, dtype=torch.long),
        torch.zeros(count, length, dtype=torch.long),
        torch.zeros(count, MAX_OBJECTS, 4),
        torch.zeros(count, MAX_OBJECTS, length),
    )
    for row, one in enumerate(examples):
        _, tall, wide = one.pixel_values.shape
        batch.pixel_values[row, :, :tall, :wide] = one.pixel_values
        batch.pixel_mask[row, :tall, :wide] = 1
        batch.input_ids[row, : len(one.input_ids)] = torch.tensor(one.input_ids)
        batch.attention_mask[row, : len(one.input_ids)] = 1
        for place, ((x1, y1, x2, y2), tokens) in enumerate(zip(one.boxes, one.tokens, strict=True)):
            batch.boxes[row, place] = torch.tensor([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])
            batch.tokens[row, place, tokens] = 1
    return batch
