"""What saves memory or time changes no result, or by rounding only."""

from pathlib import Path

import pytest
import torch
from torch.distributed.fsdp import FSDPModule

from schemas.errors import UsageError
from tests.training.support import runs
from training.optimizer import select_trainable
from training.parallel import Ranks, init_distributed, parallelize, sync_gradients
from training.set_up import prepare_model


def two_steps(tokenizer: Path, **changes: object) -> tuple[list[float], dict[str, torch.Tensor]]:
    held = runs.trainer(runs.recipe(tokenizer, **changes))
    found = [runs.step(held, [runs.batch(1), runs.batch(2, images=False)], number).loss for number in range(2)]
    return found, {name: p.detach().float() for name, p in held.model.named_parameters()}


def test_activation_checkpointing_is_exact(tokenizer: Path) -> None:
    plain, weights = two_steps(tokenizer)
    again, same = two_steps(tokenizer, activation_checkpointing=True)
    assert again == plain
    for name, weight in same.items():
        assert torch.equal(weight, weights[name.replace("_checkpoint_wrapped_module.", "")])


def test_bf16(tokenizer: Path) -> None:
    plain, weights = two_steps(tokenizer)
    coarse, rounded = two_steps(tokenizer, precision="bf16")
    assert coarse == pytest.approx(plain, rel=0.02)
    held = runs.trainer(runs.recipe(tokenizer, precision="bf16"))
    assert {parameter.dtype for parameter in held.model.vision.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in held.model.parameters() if p.requires_grad} == {torch.float32}
    assert rounded.keys() == weights.keys()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_sharded_on_one_process(tokenizer: Path, precision: str) -> None:
    plain, _ = two_steps(tokenizer)
    asked = runs.recipe(tokenizer, parallel="fsdp", precision=precision)
    with init_distributed(asked.run, "fsdp") as ranks:
        held = runs.trainer(asked, ranks)
        found = [runs.step(held, [runs.batch(1), runs.batch(2, images=False)], number).loss for number in range(2)]
    assert found == (pytest.approx(plain, abs=1e-6) if precision == "fp32" else pytest.approx(plain, rel=0.02))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_summed_in_each_micro_batch(tokenizer: Path, precision: str) -> None:
    """On one process the order of the additions is the same, so that the losses and the weights are equal."""
    found = []
    for reduce in ("step", "micro_batch"):
        asked = runs.recipe(tokenizer, parallel="fsdp", precision=precision, reduce_gradients=reduce)
        batches = [runs.batch(number, images=number != 2) for number in range(3)]
        with init_distributed(asked.run, "fsdp") as ranks:
            held = runs.trainer(asked, ranks)
            outcomes = [runs.step(held, batches, number) for number in range(2)]
            found.append((outcomes, [parameter.full_tensor() for parameter in select_trainable(held.model).values()]))
    (step, weights), (micro_batch, same) = found
    assert micro_batch == step
    assert all(map(torch.equal, same, weights))


def test_a_rank_keeps_its_shard_of_gradients(tokenizer: Path) -> None:
    """From the first micro-batch on, and no others."""
    for reduce, is_sharded in (("step", False), ("micro_batch", True)):
        asked = runs.recipe(tokenizer, parallel="fsdp", reduce_gradients=reduce)
        with init_distributed(asked.run, "fsdp") as ranks:
            held = runs.trainer(asked, ranks)
            with sync_gradients(held.model, is_last=False, reduce=asked.reduce_gradients):
                held.model(runs.batch(1)).sum().backward()
            sharded = [parameter.grad is not None for parameter in select_trainable(held.model).values()]
            assert set(sharded) == {is_sharded}
            assert isinstance(held.model, FSDPModule)
            groups = [group for module in held.model.modules() if isinstance(module, FSDPModule)
                      for group in module._get_fsdp_state()._fsdp_param_groups]  # fmt: skip
            kept = [one for group in groups for one in group.fsdp_params if one.sharded_param.requires_grad]
            assert {one._unsharded_param.grad is not None for one in kept} == {not is_sharded}


def test_several_ranks_need_a_way(tokenizer: Path) -> None:
    asked = runs.recipe(tokenizer, parallel="none")
    with pytest.raises(UsageError, match="parallel: none, but there are 2 ranks; use ddp or fsdp"):
        parallelize(prepare_model(asked), asked, Ranks(world_size=2))
