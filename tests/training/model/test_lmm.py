"""Images take their places and no others; samples of a pack know nothing of one another; the tiny model learns."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from schemas.errors import ShardloomError
from tests.training.support import tiny
from tests.training.support.tiny import END, IMAGE, pack, picture
from training.batch import IGNORE_INDEX, PADDING, Batch
from training.model.anyres import regroup_as_reference
from training.model.lmm import ResamplerLMM

SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def model(tokenizer: Path) -> ResamplerLMM:
    return ResamplerLMM.build(tiny.options(tokenizer))


def losses(model: ResamplerLMM, batch: Batch) -> Tensor:
    """Of each position, 0 where nothing is to be predicted."""
    logits = model(batch)
    return functional.cross_entropy(
        logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORE_INDEX, reduction="none"
    )


def test_parameters_of_the_papers_model(tmp_path: Path) -> None:
    options = tiny.options(
        tiny.write_phi3_tokenizer(tmp_path),
        vision={"config": SO400M},
        connector={},
        language={"config": {"model_type": "phi3", "sliding_window": 2047}},
    )
    model = ResamplerLMM.build(options, "meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_359_257_219
    assert sum(parameter.numel() for parameter in model.vision.parameters()) == 428_225_600
    assert sum(parameter.numel() for parameter in model.connector.parameters()) == 109_901_568
    assert model.language.lm.num_parameters() == 3_821_079_552
    assert sum(parameter.numel() for parameter in model.language.parameters()) - 3_821_079_552 == 50_499
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad) == 3_931_031_619
    assert model.language.vocabulary_size == 32015


def test_a_seed_is_a_model(tokenizer: Path) -> None:
    torch.manual_seed(5)
    one, same = (ResamplerLMM.build(tiny.options(tokenizer)) for _ in range(2))
    other = ResamplerLMM.build(tiny.options(tokenizer, seed=1))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.connector.latents, other.connector.latents)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))  # the caller's own numbers are not used up


@pytest.mark.parametrize("images", [0, 1, 2, 3])
def test_splice_is_a_concatenation(model: ResamplerLMM, images: int) -> None:
    """The released code was one token off from the second image on."""
    sample: tiny.Sample = ["so "]
    for number in range(images):
        sample += [picture(number), f" is {number}"]
    batch = pack([[[*sample, END]]])
    tokens = model.embed_images(batch).split(4) if images else ()
    assert len(tokens) == images
    parts, text, seen = [], [], 0
    for part in [*sample, END]:
        if isinstance(part, Tensor):
            parts.append(tokens[seen])
            text += [False] * 4
            seen += 1
        else:
            ids = [part] if isinstance(part, int) else list(part.encode())
            parts.append(model.language.lm.get_input_embeddings().weight[ids])
            text += [True] * len(ids)
    embeddings = torch.cat(parts)[None]
    hidden = model.language.lm.model(inputs_embeds=embeddings).last_hidden_state
    expected = functional.linear(hidden, model.language.lm.lm_head.weight)[..., :262]
    logits = model(batch)
    assert logits.shape == (1, len(text), 265)
    assert (logits[0, text, :262] - expected[0, text]).abs().max() <= 1e-6


def test_images_go_row_after_row(model: ResamplerLMM) -> None:
    one, two, three = picture(1), picture(2, 3), picture(3)
    batch = pack([[["a", one], ["b", two]], [["c"]], [[three, "d"]]])
    assert batch.grids.tolist() == [[0, 0], [1, 2], [0, 0]]
    tokens = model.embed_images(batch)
    assert tokens.shape == (5 * 4, 64)
    embeddings = model.splice(model.language.embed(batch.tokens), tokens, batch)
    assert torch.equal(embeddings[0, 1:5], tokens[:4])
    assert torch.equal(embeddings[0, 6:18], tokens[4:16])
    assert torch.equal(embeddings[2, :4], tokens[16:])
    assert torch.equal(tokens[16:], model.embed_images(pack([[[three]]])))


def test_logits_only_where_asked(model: ResamplerLMM) -> None:
    batch = pack([[["what ", picture(1), " a cat"]], [["and"]]])
    at = batch.labels != IGNORE_INDEX
    assert torch.equal(model(batch, at), model(batch)[at])


def test_a_mismatch_names_the_samples(model: ResamplerLMM) -> None:
    batch = pack([[["a"], ["b", picture(1)]], [["c", picture(2)]], [["text"]]])
    with pytest.raises(ShardloomError) as error:
        model(dataclasses.replace(batch, tiles=batch.tiles[:1], valid=batch.valid[:1], grids=batch.grids[:1]))
    assert str(error.value) == (
        "model: 8 places for image tokens and 4 image tokens in a batch with 0.tar 0, 0.tar 1, 1.tar 0;"
        " check these samples' images"
    )
    tokens = batch.tokens.clone()
    tokens[0, 4] = 7
    with pytest.raises(
        ShardloomError, match=r"^model: 7 places .* and 8 image tokens in a batch with 0.tar 0, 0.tar 1;"
    ):
        model(dataclasses.replace(batch, tokens=tokens))
    with pytest.raises(
        ShardloomError, match=r"^model: 0 places .* 4 image tokens in a batch with no sample that has an"
    ):
        model(
            dataclasses.replace(
                pack([[["text"]]]), **{k: getattr(pack([[[picture(1)]]]), k) for k in ("tiles", "valid")}
            )
        )


@pytest.mark.parametrize("window", [None, 9])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_sample_does_not_alter_its_neighbours(tokenizer: Path, attention: str, window: int | None) -> None:
    """Bit by bit: logits, losses, and gradients of the neighbours' losses."""
    config = tiny.PHI3 | {"sliding_window": window}
    model = ResamplerLMM.build(tiny.options(tokenizer, attention=attention, language={"config": config}))
    second, third = ["what ", picture(2), "? a dog", END], [picture(3), picture(4), "two", END]
    first, other = ["look: ", picture(1), " a cat", END], ["hear! ", picture(9), " a fox", END]
    outcomes, own = [], []
    for swapped in (first, other):
        batch = pack([[swapped, second, third]], length=64)
        assert batch.segments[0, 16:17].tolist() == [0]
        rest = batch.segments > 0
        logits, loss = model(batch), losses(model, batch)[rest.flatten()]
        model.zero_grad()
        loss.sum().backward()
        gradients = [p.grad.clone() for p in model.connector.parameters() if p.grad is not None]
        outcomes.append([logits[rest], loss.detach(), *gradients])
        own.append(logits[batch.segments == 0])
    for before, after in zip(*outcomes, strict=True):
        assert torch.equal(before, after)
    assert outcomes[0][1].count_nonzero() > 10
    assert not torch.equal(*own)


def test_a_sample_sees_its_own_images_alone(model: ResamplerLMM) -> None:
    """The image in a sample matters to what follows it there, and to nothing before it or elsewhere."""
    packs = [pack([[["a"], ["what ", picture(seed), "? a dog"], ["b c d"]]]) for seed in (1, 2)]
    one, two = (model(batch)[0] for batch in packs)
    changed = (one != two).any(dim=-1)
    segment = packs[0].segments[0] == 1
    assert changed.tolist() == [False] * 6 + [True] * (4 + 7) + [False] * 5
    assert not changed[~segment].any()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_pack_is_its_samples(tokenizer: Path, attention: str) -> None:
    model = ResamplerLMM.build(tiny.options(tokenizer, attention=attention))
    samples: list[tiny.Sample] = [["what ", picture(2), "? a dog", END], ["text", END], [picture(3), picture(4), "two"]]
    packed = model(pack([samples], length=50))[0]
    alone = torch.cat([model(pack([[sample]]))[0] for sample in samples])
    assert (packed[: len(alone)] - alone).abs().max() <= 1e-5


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_changes_nothing(tokenizer: Path, attention: str, left: bool) -> None:
    model = ResamplerLMM.build(tiny.options(tokenizer, attention=attention))
    long, short = ["this ", picture(1), " is longer by far"], ["it ", picture(2), " is"]
    batch = pack([[long], [short]], length=40, left=left)
    logits = model(batch)
    assert logits.isfinite().all()
    for row, sample in enumerate((long, short)):
        alone = model(pack([[sample]]))[0]
        assert (logits[row, batch.segments[row] != PADDING] - alone).abs().max() <= 1e-5


def test_batches_with_and_without_images_have_gradients_alike(tokenizer: Path) -> None:
    model = ResamplerLMM.build(tiny.options(tokenizer))
    gradients = {}
    for kind, batch in {"image": pack([[["a ", picture(1), " b"]]]), "text": pack([[["only text"]]])}.items():
        model.zero_grad(set_to_none=True)
        losses(model, batch).sum().backward()
        gradients[kind] = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert gradients["text"].keys() == gradients["image"].keys()
    assert gradients["text"].keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    for name, gradient in gradients["text"].items():
        assert gradient.isfinite().all()
        assert not name.startswith("connector.") or not gradient.any()
    assert all(gradients["image"][name].any() for name in gradients["image"] if name.startswith("connector."))


def test_a_batch_of_text_does_not_touch_a_frozen_tower(tokenizer: Path) -> None:
    model = ResamplerLMM.build(tiny.options(tokenizer))
    seen: list[int] = []
    model.vision.layers[0].register_forward_hook(lambda *_: seen.append(1))
    model(pack([[["only text"]]]))
    assert seen == []
    model(pack([[["a ", picture(1)]]]))
    assert seen == [1]
    model.vision.unfreeze()
    losses(model, pack([[["only text"]]])).sum().backward()
    learning = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learning)


def test_cells_without_a_picture_are_not_looked_at(model: ResamplerLMM) -> None:
    batch = pack([[["a", picture(1, 3)]]])
    valid = batch.valid.clone()
    valid[1, :4] = False
    masked = dataclasses.replace(batch, valid=valid)
    tokens, changed = model.embed_images(batch).split(4), model.embed_images(masked).split(4)
    assert not torch.equal(tokens[1], changed[1])
    torch.testing.assert_close(tokens[2], changed[2], atol=1e-6, rtol=0)
    features = model.vision(batch.tiles)
    assert torch.equal(model.connector(features, valid).flatten(0, 1), model.embed_images(masked))


def test_the_released_weights_order_of_cells(tokenizer: Path, model: ResamplerLMM) -> None:
    any_resolution = {"enabled": True, "tile_order": "reference"}
    reference = ResamplerLMM.build(tiny.options(tokenizer, any_resolution=any_resolution))
    column = pack([[[picture(1, 3), picture(2)]]])  # images of one column of tiles, and of one tile: nothing to regroup
    assert torch.equal(reference.embed_images(column), model.embed_images(column))
    wide = pack([[[picture(2), picture(1, 5)]]])
    valid = wide.valid.clone()
    valid[1:, ::3] = False
    wide = dataclasses.replace(wide, grids=torch.tensor([[0, 0], [2, 2]]), valid=valid)
    features = model.vision(wide.tiles)
    groups = torch.cat((features[:1], regroup_as_reference(features[1:], (2, 2))))
    seen = torch.cat((valid[:1], regroup_as_reference(valid[1:], (2, 2))))
    assert torch.equal(reference.embed_images(wide), model.connector(groups, seen).flatten(0, 1))
    assert not torch.equal(reference.embed_images(wide), model.embed_images(wide))


def test_in_half_precision_everything_is(tokenizer: Path) -> None:
    model = ResamplerLMM.build(tiny.options(tokenizer)).bfloat16()
    batch = pack([[["a ", picture(1), " b"]], [["text"]]])
    assert model(batch).dtype == torch.bfloat16
    mixed = ResamplerLMM.build(tiny.options(tokenizer, attention="eager"))
    with torch.autocast("cpu", torch.bfloat16):
        logits = mixed(batch)
    assert logits.isfinite().all()
    assert (logits.float() - mixed(batch)).abs().max() < 0.1


def test_tokens_of_images_are_no_text() -> None:
    batch = pack([[["a", picture(1), "b"]]])
    assert batch.tokens.tolist() == [[97, IMAGE, IMAGE, IMAGE, IMAGE, 98]]
    assert batch.labels.tolist() == [[IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX, 98, IGNORE_INDEX]]
