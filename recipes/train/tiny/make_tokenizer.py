"""Makes the tiny model's tokenizer, a byte-level BPE, from the texts that `shardloom demo` makes:

python recipes/train/tiny/make_tokenizer.py demo-output/training recipes/train/tiny/tokenizer.json
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from schemas.tar.reader import TarReader

ENTRIES = 2048  # the markers and all bytes among them
MARKERS = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")  # those of Phi-3's conversations


def texts(training: Path) -> Iterator[str]:
    """Every caption at every granularity, and every text of a document."""
    for path in sorted(training.glob("*/data/*.tar")):
        with path.open("rb") as file:
            for sample in TarReader(file, hashing=False):
                record = json.loads(sample.members["json"].data)
                for caption in json.loads(record.get("captions", "[]")):
                    yield caption["text"]
                for part in record.get("parts", []):
                    if "text" in part:
                        yield part["text"]


def main(training: str, output: str) -> None:
    """Trains and writes it."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    markers = [AddedToken(marker, normalized=False) for marker in MARKERS]
    trainer = BpeTrainer(
        vocab_size=ENTRIES, special_tokens=markers, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts(Path(training)), trainer)
    tokenizer.save(output, pretty=False)
    print(f"{tokenizer.get_vocab_size()} entries: {output}")


if __name__ == "__main__":
    main(*sys.argv[1:])
