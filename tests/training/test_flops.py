"""Operations are those that torch itself counts, and what memory is said to hold is what is held."""

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.training.support import runs, tiny
from training.batch import Batch, concatenate_batches
from training.flops import build_flop_counter, count_attention_pairs, count_non_embedding_parameters, count_tokens
from training.memory import estimate_memory
from training.objective import make_label_mask
from training.set_up import prepare_model


def counted(asked: runs.TrainRecipe, batch: Batch) -> tuple[float, float]:
    """By torch, of a step, and by us, put right: torch counts padding, and attention for all pairs of positions."""
    held = runs.trainer(asked)
    flops = build_flop_counter(held.model)
    with FlopCounterMode(display=False) as counter:
        runs.step(held, [batch])
    rows, length = batch.tokens.shape
    surplus = flops.per_pair * (rows * length**2 - count_attention_pairs(batch)) + flops.per_token * (
        rows * length - count_tokens(batch)
    )
    return counter.get_total_flops() - surplus * flops.language_factor, flops.count([batch])


@pytest.mark.parametrize("tower", [0, 1e-3])
def test_operations_are_those_that_torch_counts(tokenizer: Path, tower: float) -> None:
    lr = {"tower": tower, "connector": 1e-3, "language": 1e-3}
    model = tiny.options(tokenizer, attention="eager").model_dump()
    theirs, ours = counted(
        runs.recipe(tokenizer, model=model, optimizer={"lr": lr}), concatenate_batches([runs.batch(1), runs.batch(2)])
    )
    assert ours == pytest.approx(theirs, rel=0.06)


@pytest.mark.parametrize("mode", ["clip", "fixed_sampling", "language"])
def test_operations_of_other_ways_to_see(tokenizer: Path, mode: str) -> None:
    """A class token, a layer that does not run, tiles that are one call of the connector, and no tower."""
    fixed = mode == "fixed_sampling"
    tiles = 3 if fixed else 1
    made = [runs.batch(seed, mode != "language", 96, tiles, fixed) for seed in (1, 2)]
    model = tiny.options(tokenizer, attention="eager", **tiny.MODES[mode]).model_dump()
    lr = {"tower": 1e-3 if mode == "clip" else 0, "connector": 1e-3, "language": 1e-3}
    theirs, ours = counted(runs.recipe(tokenizer, model=model, optimizer={"lr": lr}), concatenate_batches(made))
    assert ours == pytest.approx(theirs, rel=0.06)


def test_all_tiles_in_one_call_are_counted_for_the_image(tokenizer: Path) -> None:
    model = tiny.options(tokenizer, **tiny.MODES["fixed_sampling"]).model_dump()
    built = prepare_model(runs.recipe(tokenizer, model=model))
    flops, count = build_flop_counter(built), built.connector.count_flops_per_tile
    assert 3 * flops.connector_per_tile + flops.connector_per_image == pytest.approx(count(3 * 16), rel=1e-12)
    assert flops.connector_per_image > 0


def test_what_is_counted(tokenizer: Path) -> None:
    batch = runs.batch(1)
    segments = [int((batch.segments == number).sum()) for number in (0, 1)]
    assert count_tokens(batch) == sum(segments)
    assert count_attention_pairs(batch) == sum(size * (size + 1) / 2 for size in segments)
    flops = build_flop_counter(prepare_model(runs.recipe(tokenizer)))
    layer = 64 * 3 * 64 + 64 * 64 + 64 * 256 + 128 * 64
    assert flops.per_token == 2 * 2 * layer
    assert flops.per_pair == 4 * 64 * 2
    assert flops.per_label == 2 * 64 * 265
    assert (flops.tower_factor, flops.language_factor) == (1, 3)
    step = (
        flops.tower_per_tile
        + 3 * flops.connector_per_tile
        + 3 * flops.per_token * count_tokens(batch)
        + 3 * flops.per_pair * count_attention_pairs(batch)
    )
    assert flops.count([batch]) == step + 3 * flops.per_label * int(make_label_mask(batch).sum())


def test_the_papers_model(tmp_path: Path) -> None:
    """6 operations a parameter and token, roughly; the tower's 729 cells of a tile are half a trillion."""
    options = tiny.options(
        tiny.write_phi3_tokenizer(tmp_path),
        vision={"config": {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27,
                           "num_attention_heads": 16, "image_size": 384, "patch_size": 14}},
        connector={},
        language={"config": {"model_type": "phi3", "sliding_window": 2047}},
    )  # fmt: skip
    asked = runs.recipe(tmp_path, model=options.model_dump(), precision="bf16")
    model = prepare_model(asked, "meta")
    flops = build_flop_counter(model)
    assert flops.per_token == 2 * 3_623_878_656
    assert count_non_embedding_parameters(model) == 3_623_878_656 + 65 * 3072
    assert flops.tower_per_tile / 1e9 == pytest.approx(667, abs=1)
    memory = estimate_memory(model, asked.model_copy(update={"global_batch_size": 64}), 64, "fsdp")
    tower, connector, language = memory.parts
    assert (tower.parameters, tower.trainable, tower.weights) == (428_225_600, 0, 856_451_200)
    assert (connector.parameters, connector.trainable) == (109_901_568, 109_901_568)
    assert language.weights == language.trainable * 4 // 64 == language.gradients
    assert language.moments == language.trainable * 8 // 64


def test_activations(tokenizer: Path) -> None:
    """The estimate is within a third of what autograd keeps."""
    wide = {"config": tiny.PHI3 | {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4}}
    model = tiny.options(tokenizer, language=wide).model_dump()
    data = {"sources": {"pictures": "x", "texts": "x"}, "weights": {"texts": 1, "pictures": 1}}
    data |= {"sequence_length": 256, "tiles_per_sequence": 1}
    asked = runs.recipe(tokenizer, model=model, data=data)
    held = runs.trainer(asked)
    weights = {parameter.untyped_storage().data_ptr() for parameter in held.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if (at := tensor.untyped_storage().data_ptr()) not in weights:
            kept[at] = max(kept.get(at, 0), tensor.untyped_storage().nbytes())
        held_on.append(tensor)  # or its memory would be another's
        return tensor

    held_on: list[torch.Tensor] = []
    batch = runs.batch(1, length=256)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held.model(batch, make_label_mask(batch)).sum()
    estimate = estimate_memory(prepare_model(asked), asked, 1, "none").activations
    assert 0.66 < sum(kept.values()) / estimate < 1.5
    fewer = estimate_memory(
        prepare_model(asked), asked.model_copy(update={"activation_checkpointing": True}), 1, "none"
    )
    assert fewer.activations < estimate / 2
