"""Makes a unigram tokenizer with bytes for unknown characters, as SentencePiece does, from sets of training shards:

python recipes/train/xmodel_vlm/make_tokenizer.py sets/text tokenizer.json [ENTRIES] [TEXTS]

It trains on up to TEXTS texts (1,000,000), the first of each shard in turn. ENTRIES are 32,000, as in LLaMA;
Xmodel-VLM's paper names the algorithm alone. Beside the file it writes a tokenizer_config.json, which names the tokens
that begin and end a text.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import Unigram
from tokenizers.trainers import UnigramTrainer

from schemas.tar.reader import TarReader

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
NEVER = -1e6  # log-probability of a byte's piece: text is cut into bytes only where nothing else covers it


def read_texts(folder: Path) -> Iterator[str]:
    """Yields every text of a set, one of each shard in turn."""
    with ExitStack() as stack:
        shards = [
            _read_shard(TarReader(stack.enter_context(path.open("rb")), hashing=False))
            for path in sorted(folder.glob("data/*.tar"))
        ]
        while shards:
            for shard in [*shards]:
                if (text := next(shard, None)) is None:
                    shards.remove(shard)
                else:
                    yield text


def _read_shard(reader: TarReader) -> Iterator[str]:
    for sample in reader:
        record = json.loads(sample.members["json"].data)
        if "txt" in sample.members:
            yield sample.members["txt"].data.decode()
        yield from (part["text"] for part in record.get("parts", []) if "text" in part)


def train_tokenizer(texts: Iterator[str], entries: int) -> Tokenizer:
    """Trains a tokenizer of up to `entries` pieces, the special ones and those of the bytes among them."""
    tokenizer = Tokenizer(Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = [UNKNOWN, BEGIN, END]
    trainer = UnigramTrainer(
        vocab_size=entries - len(BYTES), special_tokens=specials, unk_token=UNKNOWN, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    trained = json.loads(tokenizer.to_str())
    pieces = [(piece, score) for piece, score in trained["model"]["vocab"] if piece not in (*specials, *BYTES)]
    trained["model"] |= {
        "vocab": [*((name, 0.0) for name in specials), *((name, NEVER) for name in BYTES), *pieces],
        "unk_id": 0,
        "byte_fallback": True,
    }
    whole = Tokenizer.from_str(json.dumps(trained))
    whole.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()])
    return whole


def main(folder: str, output: str, entries: str = "32000", texts: str = "1000000") -> None:
    """Trains the tokenizer and writes it."""
    tokenizer = train_tokenizer(islice(read_texts(Path(folder)), int(texts)), int(entries))
    tokenizer.save(output, pretty=False)
    config = {"bos_token": BEGIN, "eos_token": END, "unk_token": UNKNOWN, "add_bos_token": True}
    Path(output).with_name("tokenizer_config.json").write_text(json.dumps(config, indent=1))
    print(f"{tokenizer.get_vocab_size()} entries: {output}")


if __name__ == "__main__":
    main(*sys.argv[1:])
