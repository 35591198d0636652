"""Makes the generation settings of an export: answers end, and never hold a token of an image, as in training."""

from typing import Any

from training.data.chat import ChatTemplate
from training.model.config import PromptOptions
from training.model.generation.endings import find_end_tokens, list_banned_tokens
from training.model.generation.options import GenerateOptions
from training.model.tokens import TextTokenizer


def make_generation_config(tokenizer: TextTokenizer, prompts: PromptOptions) -> Any:
    """Returns transformers' settings of greedy generation."""
    from transformers import GenerationConfig

    closing = find_answer_closing(tokenizer, prompts)
    return GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos,
        do_sample=False,
        eos_token_id=sorted(find_end_tokens(tokenizer, closing)),
        max_new_tokens=GenerateOptions().max_new_tokens,
        pad_token_id=tokenizer.special.pad,
        suppress_tokens=list_banned_tokens(tokenizer.special),
    )


def find_answer_closing(tokenizer: TextTokenizer, prompts: PromptOptions) -> tuple[int, ...]:
    """Returns the tokens that close the assistant's turn; none for a model that was trained on no conversations."""
    if prompts.template_fault is not None:
        return ()
    return ChatTemplate.from_prompts(tokenizer, prompts).find_closing("assistant")
