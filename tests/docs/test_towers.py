"""The page of towers and resolutions names options that are valid, and the tiles and tokens that they give."""

import re

import numpy as np
import pytest
import yaml

from curation.mixture.image_tokens import ImageTokenRule
from tests.conftest import REPOSITORY
from training.data.images import ImageTiler
from training.model.config import VisionOptions
from training.model.tiling_options import AnyResolutionOptions, SourceTilingOptions

PAGE = (REPOSITORY / "docs/towers.md").read_text()
TOWERS, _, REST = PAGE.partition("## Resolutions")
ROWS = re.findall(r"^\| [^|]+ \| `(\{.*\})` \| (\d)(?: to (\d))? \| (\d+)(?: to (\d+))?", REST, re.MULTILINE)


@pytest.mark.parametrize("text", re.findall(r"\| `(\{pretrained[^`]+\})` \|", TOWERS))
def test_towers(text: str) -> None:
    assert VisionOptions.model_validate(yaml.safe_load(text)).pretrained


@pytest.mark.parametrize(("text", "least", "most", "few", "many"), ROWS)
def test_tiles_and_tokens(text: str, least: str, most: str, few: str, many: str) -> None:
    options = AnyResolutionOptions.model_validate(yaml.safe_load(text))
    sizes = np.asarray([(300, 300), (1000, 1000), (2000, 500), (50, 900)])
    tiles = ImageTiler(options, 384, 14, 128).count_tiles(sizes[:, 0], sizes[:, 1])
    assert (tiles.min(), tiles.max()) == (int(least), int(most or least))
    tokens = np.where(options.fixed_sampling, 1, tiles) * 128
    assert (tokens.min(), tokens.max()) == (int(few), int(many or few))


def test_all_rows_and_examples() -> None:
    assert len(ROWS) == 5
    sources, mixture = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    assert AnyResolutionOptions.model_validate(sources["model"]["any_resolution"]).enabled
    named = {name: SourceTilingOptions.model_validate(own) for name, own in sources["data"]["any_resolution"].items()}
    assert named == {"captions": SourceTilingOptions(enabled=False)}
    assert ImageTokenRule.model_validate(mixture["image_tokens"]).per_tile == 128
