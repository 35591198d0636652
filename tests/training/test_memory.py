"""The memory of a sharded run by part, in bytes."""

from pathlib import Path

from tests.training.support import runs, tiny
from training.dry_run import dry_run
from training.memory import MemoryEstimate, estimate_memory
from training.recipe import TrainRecipe
from training.set_up import prepare_model

LAYER = 64 * 3 * 64 + 64 * 64 + 3 * 64 * 128 + 2 * 64  # parameters of a decoder layer of `tiny.PHI3`
CONNECTOR, LANGUAGE = 14_784, 117_715


def estimate(recipe: TrainRecipe, ranks: int, kind: str = "fsdp") -> MemoryEstimate:
    return estimate_memory(prepare_model(recipe, "meta"), recipe, ranks, kind)


def test_gradients_of_several_micro_batches(tokenizer: Path) -> None:
    """Whole where they are summed once a step, and a shard of them where each micro-batch sums them."""
    for reduce, whole in (("step", True), ("micro_batch", False)):
        asked = runs.recipe(tokenizer, global_batch_size=8, reduce_gradients=reduce)
        found = [part.gradients for part in estimate(asked, 4).parts]
        assert found == ([0, CONNECTOR * 4, LANGUAGE * 4] if whole else [0, CONNECTOR, LANGUAGE])
        assert [part.gradients for part in estimate(asked, 8).parts] == [0, CONNECTOR * 4 // 8, LANGUAGE * 4 // 8]
        assert [part.gradients for part in estimate(asked, 4, "ddp").parts] == [0, CONNECTOR * 4, LANGUAGE * 4]


def test_gradients_being_summed(tokenizer: Path) -> None:
    """Those of one layer in the precision of the weights in use, and an fp32 copy of another's."""
    for precision, size in (("fp32", 4), ("bf16", 2)):
        memory = estimate(runs.recipe(tokenizer, precision=precision), 2)
        assert memory.reduced == LAYER * (size + 4)
        held = sum(part.weights + part.gradients + part.moments for part in memory.parts)
        assert memory.total == held + memory.activations + memory.gathered + memory.reduced
    assert estimate(runs.recipe(tokenizer), 2, "ddp").reduced == 0
    assert estimate(runs.recipe(tokenizer, optimizer={"lr": {"language": 0}}), 2).reduced == 0


def test_the_table_says_so(tokenizer: Path) -> None:
    data = {"sources": {"pictures": "x", "texts": "x"}, "weights": {"texts": 1, "pictures": 1}}
    data |= {"sequence_length": 256}
    model = tiny.options(tokenizer).model_dump()
    told = []
    for reduce in ("step", "micro_batch"):
        asked = runs.recipe(tokenizer, model=model, data=data, global_batch_size=8, reduce_gradients=reduce)
        told.append(next(iter(dry_run(asked, 4))).splitlines())
    assert [lines[6].split()[-4:-2] for lines in told] == [["471", "kB"], ["118", "kB"]]
    assert told[0][8] == told[1][8] == f"  gradients being summed, at most: {LAYER * 8 / 1000:.3g} kB"
