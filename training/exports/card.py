"""Writes the model card of an export: what it is, and how it is loaded."""

from pathlib import Path

from schemas.log import LOG
from training.exports.formats import ExportFormat
from training.exports.generation import find_answer_closing
from training.model.config import PromptOptions
from training.model.generation.endings import Endings
from training.model.generation.options import GenerateOptions
from training.model.lmm import ResamplerLMM
from training.model.tokens import TextTokenizer

CARD_FILE = "README.md"

_CHAT = """\
messages = [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "What is it?"}]}]
inputs = processor.apply_chat_template(
    messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
)"""
_DOCUMENT = 'inputs = processor(images=image, text="<image>", return_tensors="pt")'


_LICENCES = (
    "The code comes from Shardloom and is under the Apache License 2.0. The weights are under the licences of the"
    " models that their training started from, and of its data, which the exporter does not know: name them here, and"
    " as `license` above, before you publish the folder."
)


def write_card(
    folder: Path,
    kind: ExportFormat,
    model: ResamplerLMM,
    tokenizer: TextTokenizer,
    prompts: PromptOptions,
    has_chat: bool,
    has_exact_prompts: bool,
) -> None:
    """Writes the card, and warns of it where `has_exact_prompts` is False: transformers' tokens are not training's."""
    trust = ", trust_remote_code=True" if kind == "hf" else ""
    text, tower = model.language.lm.config.model_type, model.vision.get_config().model_type
    connector = model.options.connector.kind
    lines = [
        "---\nlibrary_name: transformers\npipeline_tag: image-text-to-text\n---",
        f"# {text} with images",
        f"A language model of type {text} that takes images by a tower of type {tower} and a connector of kind"
        f" {connector}, trained by Shardloom. transformers 5.20 or later loads it with torch and Pillow alone.",
        "```python\nfrom PIL import Image\nfrom transformers import AutoModelForImageTextToText, AutoProcessor\n\n"
        f'folder, image = "this folder", Image.open("picture.jpg")\n'
        f"model = AutoModelForImageTextToText.from_pretrained(folder{trust})\n"
        f"processor = AutoProcessor.from_pretrained(folder{trust})\n"
        f"{_CHAT if has_chat else _DOCUMENT}\n"
        f"out = model.generate(**inputs{_write_stop(tokenizer, prompts)})\n"
        'print(processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))\n```',
    ]
    if not has_exact_prompts:
        LOG.warning("export: transformers' tokenizer splits conversations into other tokens than training did")
        lines.append(
            "The tokenizer of transformers splits conversations into other tokens than training did, so answers may"
            " differ from those of `shardloom generate`."
        )
    (folder / CARD_FILE).write_text("\n\n".join([*lines, _LICENCES]) + "\n", "utf-8")


def _write_stop(tokenizer: TextTokenizer, prompts: PromptOptions) -> str:
    """Returns the arguments of `generate` for answers that end before a text rather than at a token."""
    texts = Endings(tokenizer, GenerateOptions(), find_answer_closing(tokenizer, prompts)).texts
    return f", stop_strings={list(texts)!r}, tokenizer=processor.tokenizer" if texts else ""
