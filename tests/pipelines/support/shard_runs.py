"""A run over one shard without Ray and without an engine: the reader's part, and the last pool's."""

from dataclasses import replace
from pathlib import Path

from pipelines.annotate.claims.source import ListedShards
from pipelines.annotate.messages import Chunk, Message, ShardEnd, decode_message
from pipelines.annotate.outcomes import Outcome, with_decoded, with_values, with_verdicts
from pipelines.annotate.parts import join_parts, write_part
from pipelines.annotate.reader import ShardReader
from pipelines.inputs.shards import InputShard
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.quarantine import Reason, Rejected
from schemas.records.text_line import OCR_COLUMN, line_to_arrow
from schemas.storage.folder import Folder
from schemas.tar.writer import TarWriter
from tests.conftest import jpeg
from tests.pipelines.support.sets import line

FINGERPRINT = EngineFingerprint(name="pixel", version="1", weights_sha256="", settings={})
Members = dict[str, dict[str, bytes]]
"""The members of each sample by ending, by key."""


def members() -> Members:
    """Five samples: three chunks of at most two."""
    return {
        f"{number}": {"jpg": jpeg(number), "json": b'{"caption": "picture"}', "txt": b"picture"} for number in range(5)
    }


def write_tar(path: Path, samples: Members) -> None:
    """A shard of these samples."""
    with path.open("wb") as file:
        writer = TarWriter(file)
        for key, files in samples.items():
            for ending, data in files.items():
                writer.add(f"{key}.{ending}", data)
        writer.close()


class ShardRun:
    """The reader's and the last pool's part of a run over one shard, without the graph between them."""

    def __init__(self, folder: Path, name: str = "out", **recipe: object) -> None:
        path = str(folder / "00000000.tar")
        values = {"input": path, "engines": {"ocr": {"engine": "rapidocr"}}, "chunk": {"samples": 2}} | recipe
        self.recipe = AnnotateRecipe.model_validate(values)
        self.output, self.shard = Folder(str(folder / name)), InputShard("00000000", path)
        self.sha256 = self.recipe.compute_sha256()

    def read(self) -> list[Message]:
        """What the reader yields, knowing the parts that are there."""
        source = ListedShards([self.shard])
        reader = ShardReader(self.recipe, self.output, self.output.list_files("parts"), source)
        return [decode_message(row) for block in source.make_rows() for row in reader(block)]

    def write(self, chunk: Chunk, fingerprint: EngineFingerprint = FINGERPRINT) -> None:
        """Writes the part of a chunk whose texts are the images' hashes; an image of sample 4 is too small."""
        assert chunk.table is not None
        keys, hashes = (chunk.table[name].to_pylist() for name in ("key", "sha256"))
        outcomes = [Outcome(width=64, height=48, value=[line_to_arrow(line(sha256))]) for sha256 in hashes]
        for key, outcome in zip(keys, outcomes, strict=True):
            if key == "4":
                outcome.fault, outcome.stage = Rejected(Reason.TOO_SMALL, "64 x 48"), "decode"
        table = with_values(with_decoded(chunk.table, outcomes, keep_pixels=False), outcomes, "ocr", OCR_COLUMN)
        table = with_verdicts(table, outcomes).replace_schema_metadata({"engine.ocr": fingerprint.model_dump_json()})
        write_part(self.output, replace(chunk, table=table), self.sha256)

    def finish(self) -> ShardEnd:
        """Writes the parts that are not valid yet and joins all."""
        *others, end = self.read()
        for message in others:
            if isinstance(message, Chunk):
                self.write(message)
        assert isinstance(end, ShardEnd)
        self.manifest = join_parts(self.output, end, self.sha256)
        return end
