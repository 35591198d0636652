"""Workers run in their engine's environment, and on the nodes that offer to run them."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import rapidocr
import ray
from PIL import Image, ImageDraw, ImageFont
from ray.cluster_utils import Cluster

from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import OCR
from curation.engines.registry import ENGINES
from curation.images.decode import RgbImage
from pipelines.annotate.placement import plan_placements
from pipelines.annotate.run import annotate
from pipelines.environments.python import get_completion_mark
from pipelines.recipes.annotate import AnnotateRecipe, AnnotateRun, EngineOptions, Engines
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.output_set.options import Options
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.text_line import TextLine
from schemas.storage.folder import Folder
from tests.conftest import write_shard
from tests.pipelines.support.drivers import cluster_that_offers

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

MODELS = str(Path(rapidocr.__file__).parent / "models")
PADDLE = EngineOptions(engine="paddleocr", settings={"weights": MODELS})
BUILT = pytest.mark.skipif(not get_completion_mark("paddleocr").exists(), reason="shardloom engines --build paddleocr")


class PlaceOcr:
    """Reads what the node that it runs on offers."""

    def __init__(self, _: Options) -> None:
        self.fingerprint = EngineFingerprint(name="place", version="1", weights_sha256="", settings={})

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        here = ray.get_runtime_context().get_node_id()
        [node] = [node for node in ray.nodes() if node["NodeID"] == here]
        offered = ",".join(sorted(name for name in node["Resources"] if name.startswith("shardloom-")))
        return [[TextLine(offered or "nothing", (0.0,) * 8, (0, 0, 1, 1), 1.0)]] * len(images)


PLACE = EngineDeclaration(name="place", kind=OCR, settings=Options, make=PlaceOcr)


def shard(folder: Path, *texts: str) -> str:
    """Pictures of texts in a shard; its glob."""
    files = []
    for text in texts:
        image = Image.new("RGB", (360, 120), "white")
        ImageDraw.Draw(image).text((20, 40), text, fill="black", font=ImageFont.load_default(size=32))
        image.save(file := BytesIO(), "JPEG", quality=95)
        files.append(file.getvalue())
    folder.mkdir()
    write_shard(folder / "00000000.tar", files)
    return f"{folder}/*.tar"


def texts(output: Path) -> list[list[str]]:
    [path] = (output / "data").glob("*.parquet")
    return [[line["text"] for line in lines] for lines in pq.read_table(path)["ocr"].to_pylist()]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head, and a node that offers to read texts."""
    with cluster_that_offers("shardloom-ocr") as started:
        yield started


@BUILT
def test_paddleocr_in_its_environment_beside_our_engines(tmp_path: Path) -> None:
    images = shard(tmp_path / "in", "SHARDLOOM", "OPEN 24h")
    engines = {"tags": EngineOptions(engine="caption"), "ocr": PADDLE}
    recipe = AnnotateRecipe(input=[images], engines=engines, run=AnnotateRun(workers=1))
    annotate(recipe, str(tmp_path / "out"))
    assert verify(str(tmp_path / "out")) == (1, [])
    assert texts(tmp_path / "out") == [["SHARDLOOM"], ["OPEN 24h"]]
    [manifest] = read_manifests(Folder(str(tmp_path / "out"))).values()
    assert manifest.fingerprints["ocr"].name == "paddleocr"
    assert manifest.fingerprints["ocr"].version.endswith("opencv-contrib-python 4.10.0.84"), "another than ours"


@pytest.mark.slow
@pytest.mark.skipif(not get_completion_mark("onnxruntime-gpu").exists(), reason="shardloom engines --build")
def test_a_gpu_that_is_not_there_ends_the_run_in_one_line(tmp_path: Path) -> None:
    """The node only says that it has one; the workers run in the environment, and look."""
    images = shard(tmp_path / "in", "SHARDLOOM")
    settings = {"device": "cuda"}
    with cluster_that_offers("shardloom-ocr", gpus=1) as started:
        run = AnnotateRun.model_validate(
            {"address": started.address, "resources": {"ocr": {"gpus": 0.25, "cpus": 0.25, "workers": 2}}}
        )
        ocr = EngineOptions.model_validate({"engine": "rapidocr", "settings": settings})
        with pytest.raises(UsageError) as error:
            annotate(AnnotateRecipe(input=[images], engines={"ocr": ocr}, run=run), str(tmp_path / "out"))
    assert str(error.value).startswith("rapidocr: asked for cuda, got CPUExecutionProvider: this process sees no GPU; ")


def test_pools_run_where_they_are_offered(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = shard(tmp_path / "in", "one", "two", "three")
    ENGINES.trust(f"{__name__}:PLACE")
    place = EngineOptions(engine="place")
    run = AnnotateRun(address=cluster.address, workers=1)
    recipe = AnnotateRecipe(input=[images], engines={"ocr": place, "tags": EngineOptions(engine="caption")}, run=run)
    annotate(recipe, str(tmp_path / "out"))
    assert texts(tmp_path / "out") == [["shardloom-ocr"]] * 3
    assert plan_placements(recipe, ["tags", "decode", "ocr"]) == {
        "tags": {},
        "decode": {},
        "ocr": {"resources": {"shardloom-ocr": 0.0001}},
    }
    monkeypatch.setenv("SHARDLOOM_ENVIRONMENTS", str(tmp_path / "none"))
    with pytest.raises(UsageError) as error:
        plan_placements(recipe.model_copy(update={"engines": Engines(ocr=PADDLE)}), ["ocr"])
    assert str(error.value) == (
        "engines.ocr: paddleocr runs in an environment of its own, which is not on 1 of the 1 nodes for it "
        f"({cluster.head_node.node_ip_address}): shardloom engines --build paddleocr"
    )
