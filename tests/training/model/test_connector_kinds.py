"""A model with a connector of any kind: packed as alone, exported and loaded, and able to tell images apart."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from schemas.errors import ShardloomError
from tests.training.support import tiny
from tests.training.support.tiny import END, pack, picture
from training.batch import IGNORE_INDEX, Batch
from training.model.connectors.registry import CONNECTORS
from training.model.generate import GenerateOptions, build_prompt_batch, generate
from training.model.instructions import gather_instructions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import build_model, load_pretrained, save_pretrained
from training.model.tokens import load_tokenizer

KINDS = sorted(CONNECTORS)
SAMPLES: list[tiny.Sample] = [
    ["what ", picture(2), "? a dog", END],
    ["text", END],
    [picture(3, 3), "who is it", END],
    [picture(5), END],
]


def with_instructions(batch: Batch) -> Batch:
    """All texts are instructions."""
    return replace(batch, instructions=(batch.segments >= 0) & (batch.tokens < 256))


def model_of(kind: str, tokenizer: Path, **changes: object) -> ResamplerLMM:
    return ResamplerLMM.build(tiny.options(tokenizer, connector=tiny.connector(kind), **changes))


def test_every_kind_is_here() -> None:
    assert tiny.CONNECTORS.keys() == CONNECTORS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_pack_is_its_samples(kind: str, tokenizer: Path) -> None:
    """Also where cells are masked."""
    model = model_of(kind, tokenizer)
    batch = with_instructions(pack([SAMPLES], length=80))
    valid = batch.valid.clone()
    valid[0, :6] = valid[2, 8:] = valid[3] = False
    packed = model(replace(batch, valid=valid))[0]
    alone, tile = [], 0
    for sample in SAMPLES:
        one = with_instructions(pack([[sample]]))
        tiles = len(one.tiles)
        alone.append(model(replace(one, valid=valid[tile : tile + tiles]))[0])
        tile += tiles
    expected = torch.cat(alone)
    assert tile == len(batch.tiles)
    assert (packed[: len(expected)] - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_does_not_alter_its_neighbours(kind: str, tokenizer: Path) -> None:
    model = model_of(kind, tokenizer)
    first, other = ["look: ", picture(1), " a cat", END], ["hear! ", picture(9), " a fox", END]
    batches = [with_instructions(pack([[one, *SAMPLES]], length=96)) for one in (first, other)]
    before, after = (model(batch) for batch in batches)
    rest = batches[0].segments > 0
    assert torch.equal(before[rest], after[rest])
    assert not torch.equal(before[~rest], after[~rest])


@pytest.mark.parametrize("kind", KINDS)
def test_exported_and_loaded(kind: str, tokenizer: Path, tmp_path: Path) -> None:
    options = tiny.options(tokenizer, connector=tiny.connector(kind), seed=4)
    model, words = build_model(options), load_tokenizer(options)
    save_pretrained(model, words, tmp_path / "model")
    loaded, words = load_pretrained(tmp_path / "model")
    assert loaded.options.connector == options.connector
    state = model.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in loaded.state_dict().items())
    batch = with_instructions(pack([SAMPLES]))
    assert torch.equal(loaded(batch), model(batch))
    asked = ["what ", Image.new("RGB", (60, 50), "red"), "?"]
    limit = GenerateOptions(max_new_tokens=3)
    assert generate(loaded, words, asked, limit) == generate(model, words, asked, limit)


@pytest.mark.parametrize("kind", KINDS)
def test_text_alone_reaches_every_parameter(kind: str, tokenizer: Path) -> None:
    model = model_of(kind, tokenizer)
    gradients = []
    for batch in (pack([[["only text"]]]), pack([[["a ", picture(1), " b"]]])):
        model.zero_grad()
        model(batch).square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert {name for name, p in model.named_parameters() if p.requires_grad} == gradients[0].keys()
    for name, gradient in gradients[0].items():
        assert not name.startswith("connector.") or not gradient.any(), name
        assert not name.startswith("connector.") or gradients[1][name].any(), name


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_eight_samples_are_learnt_by_their_images(kind: str, tokenizer: Path) -> None:
    """Of eight images with the same question each has its own answer; with the images swapped all are wrong."""
    answers = "ABCDEFGH"  # none of which is in the question
    rows = [[["which? ", picture(seed), answer, END]] for seed, answer in enumerate(answers)]
    batch = pack(rows)
    at = batch.tokens == torch.tensor([ord(letter) for letter in answers])[:, None]
    labels = batch.labels.where(at.roll(-1, dims=1), IGNORE_INDEX)  # of the answer alone
    batch = replace(batch, labels=labels, instructions=(batch.tokens < 256) & ~at)
    model = model_of(kind, tokenizer).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-3, weight_decay=0)
    for _ in range(200):
        loss = functional.cross_entropy(model(batch).flatten(0, 1), labels.flatten(), ignore_index=IGNORE_INDEX)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05
    asked = labels != IGNORE_INDEX
    wanted = labels[asked]
    assert torch.equal(model(batch)[asked].argmax(-1), wanted)
    swapped = replace(batch, tiles=batch.tiles.roll(1, 0))
    assert not (model(swapped)[asked].argmax(-1) == wanted).any()


def test_instructions_are_each_tiles_own() -> None:
    """First words of its sample's instruction, in order; none where there is none."""
    batch = pack([[["what ", picture(1), "is it"], [picture(2, 2)], ["no image"]], [["why", picture(3)]]])
    instructions = (batch.segments >= 0) & (batch.tokens < 256)
    batch = replace(batch, instructions=instructions)
    ids, present = gather_instructions(batch, tiny.IMAGE, tiny.TOKENS_PER_TILE, 6)
    texts = [bytes(row[seen].tolist()).decode() for row, seen in zip(ids, present, strict=True)]
    assert texts == ["what i", "", "", "why"]
    ids, present = gather_instructions(batch, tiny.IMAGE, tiny.TOKENS_PER_TILE, 100)
    assert ids.shape == present.shape == (4, 10)
    empty, nothing = gather_instructions(pack([[["text"]]]), tiny.IMAGE, tiny.TOKENS_PER_TILE, 6)
    assert empty.shape == nothing.shape == (0, 0)


def test_the_instruction_conditions_the_image(tokenizer: Path) -> None:
    model = model_of("instruction_aware", tokenizer)
    one, two = (with_instructions(pack([[["what" + mark, picture(1)]]])) for mark in "?!")
    assert not torch.equal(model.embed_images(one), model.embed_images(two))
    silent = [replace(batch, instructions=torch.zeros_like(batch.instructions)) for batch in (one, two)]
    assert torch.equal(*(model.embed_images(batch) for batch in silent))
    with pytest.raises(ShardloomError, match=r"^model: 4 places for image tokens and 8 image tokens"):
        model(replace(one, tiles=torch.cat((one.tiles, one.tiles)), valid=torch.cat((one.valid, one.valid))))


def test_a_prompts_texts_are_its_instruction(tokenizer: Path) -> None:
    model = model_of("instruction_aware", tokenizer)
    words = load_tokenizer(model.options)
    prompts = [[256, Image.new("RGB", (20, 20)), "who?", 257], ["no"]]
    batch = build_prompt_batch(model, words, prompts)
    assert [bytes(row[mask].tolist()) for row, mask in zip(batch.tokens, batch.instructions, strict=True)] == [
        b"who?",
        b"no",
    ]
