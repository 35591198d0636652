"""Writes the language model of an exported model as a folder of transformers, which `language.pretrained` takes:

python recipes/train/xmodel_vlm/extract_language_model.py runs/xmodel-lm/model runs/xmodel-lm/language

The rows that the trainer adds to the tables, for images and for a pad, are left out: a recipe adds its own again.
"""

import shutil
import sys
from pathlib import Path

from training.model.pretrained import load_pretrained

FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def main(model: str, output: str) -> None:
    """Loads the exported model and writes its language model and its tokenizer into a new folder."""
    if Path(output).exists():
        sys.exit(f"error: {output} exists: remove it, or name another folder")
    loaded, _ = load_pretrained(model)
    loaded.language.lm.save_pretrained(output)
    for name in FILES:
        if (Path(model) / name).exists():
            shutil.copyfile(Path(model) / name, Path(output) / name)
    print(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
