"""Logits token by token are those of the whole text, masks and padding included."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.support import own_vocabulary
from training.batch import PADDING
from training.model.generate import Prompt, build_prompt_batch
from training.model.generation.decoder import Decoder

LAYERS: dict[str, dict[str, Any]] = {
    "all positions": {},
    "a window": {"sliding_window": 5},
    "a window that nothing exceeds": {"sliding_window": 500},
    "both": {
        "model_type": "qwen2",
        "num_key_value_heads": 2,
        "use_sliding_window": True,
        "sliding_window": 5,
        "max_window_layers": 1,
    },
}
PROMPTS: list[Prompt] = [["and so it went on"], ["what?"]]
MADE = torch.tensor([[65, 66, 67, 68], [70, 71, 72, 73]])


@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS], ids=["alone", "padded"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("layers", LAYERS)
def test_steps_are_the_whole_text(tmp_path: Path, layers: str, attention: Any, prompts: list[Prompt]) -> None:
    model, tokenizer = own_vocabulary.build(tmp_path, **LAYERS[layers])
    made = MADE[: len(prompts)]
    with torch.inference_mode(), model.language.use_attention(attention):
        decoder = Decoder(model, build_prompt_batch(model, tokenizer, prompts), made.shape[1] + 1)
        steps = [decoder.read_prompts(), *(decoder.append(tokens) for tokens in made.T)]
        texts = [[*prompt, *ids] for prompt, ids in zip(prompts, made.tolist(), strict=True)]
        whole = model(build_prompt_batch(model, tokenizer, texts))[:, -len(steps) :]
    torch.testing.assert_close(torch.stack(steps, dim=1), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["phi3", "llama", "qwen2", "gemma3_text", "phi"])
def test_the_last_layer_computes_what_is_read(tmp_path: Path, kind: str) -> None:
    """Its feed-forward part sees one position of each prompt, and later all of a text again."""
    model, tokenizer = own_vocabulary.build(tmp_path, model_type=kind, num_key_value_heads=4, head_dim=16)
    seen: list[tuple[int, ...]] = []
    hook = model.language.layers[-1].mlp.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[:2]))  # type: ignore[union-attr,operator]
    batch = build_prompt_batch(model, tokenizer, PROMPTS)
    with torch.inference_mode():
        first = Decoder(model, batch, 1).read_prompts()
        whole = model(batch)[:, -1]
    hook.remove()
    assert seen == [(2, 1), tuple(batch.tokens.shape)]
    torch.testing.assert_close(first, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layers", ["all positions", "both"])
def test_rows_continue_in_several_ways(tmp_path: Path, layers: str) -> None:
    """Each prompt twice, then the first continuation of one and the second of the other for both."""
    model, tokenizer = own_vocabulary.build(tmp_path, **LAYERS[layers])
    with torch.inference_mode():
        decoder = Decoder(model, build_prompt_batch(model, tokenizer, PROMPTS), 3)
        decoder.read_prompts()
        decoder.repeat_rows(2)
        decoder.append(torch.tensor([65, 66, 67, 68]))
        decoder.select_rows(torch.tensor([0, 0, 3, 3]))
        logits = decoder.append(torch.tensor([70, 71, 72, 73]))
        texts = [[*PROMPTS[row // 2], first, last] for row, first, last in
                 ((0, 65, 70), (1, 65, 71), (2, 68, 72), (3, 68, 73))]  # fmt: skip
        whole = model(build_prompt_batch(model, tokenizer, texts))[:, -1]
    torch.testing.assert_close(logits, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("layers", "masks"), [("a window that nothing exceeds", 0), ("a window", 1), ("both", 2)])
def test_a_mask_is_made_only_where_something_is_hidden(tmp_path: Path, layers: str, masks: int) -> None:
    model, tokenizer = own_vocabulary.build(tmp_path, **LAYERS[layers])
    alone, padded = (build_prompt_batch(model, tokenizer, prompts) for prompts in (PROMPTS[:1], PROMPTS))
    assert not bool((alone.segments == PADDING).any())
    assert len(Decoder(model, alone, 4)._masks) == masks
    assert len(Decoder(model, padded, 4)._masks) == max(masks, 1)


@pytest.mark.parametrize(("less", "masks"), [(0, 0), (1, 1)])
def test_a_window_of_just_the_whole_length_hides_nothing(tmp_path: Path, less: int, masks: int) -> None:
    length = len("and so it went on") + 4
    model, tokenizer = own_vocabulary.build(tmp_path, sliding_window=length - less)
    batch = build_prompt_batch(model, tokenizer, PROMPTS[:1])
    assert batch.tokens.shape[1] == length - 4
    assert len(Decoder(model, batch, 4)._masks) == masks
