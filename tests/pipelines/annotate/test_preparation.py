"""What the workers of an engine share is prepared once, and where there is no room for it the run ends."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray

from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import OCR
from curation.engines.registry import ENGINES
from curation.images.decode import RgbImage
from pipelines.annotate.run import annotate
from pipelines.recipes.annotate import AnnotateRecipe, AnnotateRun, EngineOptions
from schemas.errors import ShardloomError
from schemas.output_set.options import Options
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.text_line import TextLine
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.drivers import cluster_that_offers

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]


class PreparedOcr:
    """Reads what was prepared for all of its workers."""

    def __init__(self, _: Options, prepared: str) -> None:
        self.prepared = prepared
        self.fingerprint = EngineFingerprint(name="prepared", version="1", weights_sha256="", settings={})

    @staticmethod
    def prepare(_: Options) -> str:
        """Names itself."""
        return "prepared once"

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        return [[TextLine(self.prepared, (0.0,) * 8, (0, 0, 1, 1), 1.0)]] * len(images)


PREPARED = EngineDeclaration(name="prepared", kind=OCR, settings=Options, make=PreparedOcr, prepare=PreparedOcr.prepare)


@ray.remote
class Occupant:
    """Takes what it asks for, as another job does."""

    def is_there(self) -> bool:
        """Once it is."""
        return True


@pytest.mark.slow
def test_what_engines_share_is_prepared_where_there_is_room(tmp_path: Path) -> None:
    ENGINES.trust(f"{__name__}:PREPARED")
    with cluster_that_offers("shardloom-ocr") as cluster:
        write_shard(tmp_path / "00000000.tar", [jpeg(0), jpeg(1)])
        recipe = AnnotateRecipe(
            input=[f"{tmp_path}/*.tar"],
            engines={"ocr": EngineOptions(engine=f"{__name__}:PREPARED")},
            run=AnnotateRun(address=cluster.address, resources={"ocr": {"workers": 1, "cpus": 1}}, stall_seconds=3),
        )
        ray.init(address=cluster.address)
        occupant = Occupant.options(num_cpus=2, resources={"shardloom-ocr": 1}).remote()
        assert ray.get(occupant.is_there.remote())
        with pytest.raises(ShardloomError) as error:
            annotate(recipe, str(tmp_path / "out"))
        assert str(error.value) == (
            "no progress for 3 s: no node has the CPUs or GPUs free that ocr needs to "
            "prepare its engine; the same command resumes the run"
        )
        ray.kill(occupant)
        patient = recipe.model_copy(update={"run": recipe.run.model_copy(update={"stall_seconds": 100.0})})
        assert annotate(patient, str(tmp_path / "out")).rows_out == 2
        found = pq.read_table(tmp_path / "out/data/00000000.parquet")["ocr"].to_pylist()
        assert [[line["text"] for line in lines] for lines in found] == [["prepared once"]] * 2
