"""Loads an export for transformers and answers with it, as a program too, which needs nothing of this project.

    python load_export.py REQUEST.json

The request has the export's `folder`, the `conversations` to answer, how many `new_tokens`, and where to save what was
loaded. The result is beside it: the logits of the prompts, and what a test compares.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

ABSENT = ("training", "curation", "schemas", "pipelines", "torchvision")


def load(folder: Path) -> tuple[Any, Any]:
    """The whole model and its processor; its code runs if there is any in the folder."""
    settings = {"trust_remote_code": (folder / "modeling_shardloom.py").is_file()}
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, **settings)
    return model.eval(), transformers.AutoProcessor.from_pretrained(folder, **settings)


def prepare(processor: Any, conversations: list[list[dict[str, Any]]]) -> dict[str, Tensor]:
    inputs = processor.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )
    return dict(inputs)


@torch.inference_mode()
def answer(model: Any, processor: Any, inputs: dict[str, Tensor], new_tokens: int, **settings: Any) -> list[str]:
    out = model.generate(**inputs, max_new_tokens=new_tokens, **settings)
    texts: list[str] = processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


@torch.inference_mode()
def compute_logits(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """As `generate` calls it: with positions that count from each text's start."""
    positions = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    logits: Tensor = model(**inputs, position_ids=positions).logits
    return logits


def main(path: Path) -> None:
    request = json.loads(path.read_text())
    for part in (loaded := load(Path(request["folder"]))):
        part.save_pretrained(request["saved"])  # before its use, since a tokenizer saves how it padded last
    model, processor = loaded
    inputs = prepare(processor, request["conversations"])
    save_file({"logits": compute_logits(model, inputs), "ids": inputs["input_ids"]}, path.with_suffix(".safetensors"))
    base = transformers.AutoModel.from_pretrained(request["folder"], trust_remote_code=True)
    result = {
        "texts": answer(model, processor, inputs, request["new_tokens"]),
        "absent": [name for name in ABSENT if importlib.util.find_spec(name) is None],
        "base": type(base).__name__,
        "versions": [torch.__version__, transformers.__version__],
    }
    path.with_suffix(".out.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
