"""Decides how the texts of a run are formatted, from its tokenizer and its options."""

from schemas.errors import UsageError
from training.data.options import DataOptions
from training.data.templates.split import UnsplittableTemplate, split_chat_template
from training.model.config import PromptOptions
from training.model.tokens import TextTokenizer


def resolve_prompts(tokenizer: TextTokenizer, options: DataOptions) -> PromptOptions:
    """Returns what training and an export need to format texts alike.

    The recipe's template goes before the tokenizer's. One that can't be split is stored as a fault, which is raised
    when there is a conversation to format: captions and documents need none. Raises `UsageError` when the recipe asks
    for a BOS and the tokenizer has none.
    """
    if options.bos is True and tokenizer.bos is None:
        raise UsageError(
            "data.bos: the tokenizer has no BOS; name it as bos_token in a tokenizer_config.json beside it, or set auto"
        )
    template, fault = options.template, None
    if template is None and tokenizer.config.chat_template is not None:
        try:
            template = split_chat_template(tokenizer.config.chat_template, tokenizer)
        except UnsplittableTemplate as error:
            fault = str(error)
    automatic = template is not None or tokenizer.adds_bos  # else there is none to add, as in older exports
    return PromptOptions(
        system=options.system_prompt,
        end_of_chunk=options.end_of_chunk,
        template=template,
        template_fault=fault,
        bos=options.bos if automatic or options.bos != "auto" else False,
    )
