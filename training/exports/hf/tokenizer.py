"""Makes transformers' tokenizer of a model, and checks that it gives the tokens that training saw."""

import json
import tempfile
from pathlib import Path
from typing import Any

from training.data.chat import find_document_bos
from training.inference import build_chat_prompt
from training.model.config import PromptOptions
from training.model.tokenizer_config import CONFIG_FILE
from training.model.tokens import TextTokenizer

_QUESTIONS, _ANSWER = ("What is it?", "How many are there?"), "A cat, on the left."


def make_tokenizer(tokenizer: TextTokenizer, prompts: PromptOptions, template: str | None) -> Any:
    """Returns the tokenizer with a chat template; it begins a text with a BOS where training did."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        for name, content in tokenizer.build_files().items():
            (Path(folder) / name).write_bytes(content)
        config = json.loads((Path(folder) / CONFIG_FILE).read_bytes())
        config["padding_side"] = "left"  # so that the answers of a batch begin at the same position
        (Path(folder) / CONFIG_FILE).write_text(json.dumps(config))
        made: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    made.chat_template = template
    if tokenizer.bos is not None:
        made.add_bos_token = bool(find_document_bos(tokenizer, prompts))
    return made


def has_equal_prompts(made: Any, tokenizer: TextTokenizer, prompts: PromptOptions) -> bool:
    """Returns whether a conversation has the same tokens as in training.

    Training encodes each text by itself, transformers the whole conversation. The tokens differ for a tokenizer that
    joins the end of one text with the start of the next, or that puts a space before each.
    """
    if made.chat_template is None:
        return True
    first, second = _QUESTIONS
    expected: list[int] = []
    image = tokenizer.special.image
    for part in build_chat_prompt([second], tokenizer, prompts, [([image, image, first], _ANSWER)]):
        assert isinstance(part, str | int)
        expected += tokenizer.encode(part) if isinstance(part, str) else [part]
    shown = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": first}]
    turns = [("user", shown), ("assistant", _ANSWER), ("user", second)]
    messages = [{"role": role, "content": content} for role, content in turns]
    ids = made.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    return list(ids) == expected
