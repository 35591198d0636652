"""The page of connectors has the counts of the code."""

import re

import pytest
import torch
import yaml

from tests.conftest import REPOSITORY
from training.model.connectors.registry import CONNECTORS

PAGE = (REPOSITORY / "docs/connectors.md").read_text()
SIZES = ((576, 1024, 2048), (729, 1152, 3072))


def test_the_table_of_counts() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([\d,| ]+) \|$", PAGE, re.MULTILINE))
    assert rows.keys() == CONNECTORS.keys()
    for kind, told in rows.items():
        found = []
        for cells, width, out_width in SIZES:
            chosen = CONNECTORS[kind](**({"pool_side": 24} if (kind, cells) == ("xdp", 729) else {}))
            with torch.device("meta"):
                connector = chosen.build(cells, width, out_width)
            parameters = sum(parameter.numel() for parameter in connector.parameters())
            found += [f"{chosen.count_tokens_per_tile(cells):,}", f"{parameters:,}"]
        assert told == " | ".join(found), kind


@pytest.mark.parametrize("text", re.findall(r"`(\{kind: [^`]+\})`", PAGE.replace("factor: N", "factor: 9")))
def test_options_that_are_named_are_valid(text: str) -> None:
    """At the 576 cells of the tables' towers."""
    values = yaml.safe_load(text)
    count = CONNECTORS[values.pop("kind")](**values).count_tokens_per_tile(576)
    counts = {"side": 64 if values.get("side") == 8 else 144, "pool_side": 144, "factor": 64}
    expected = [values[name] if name in ("latents", "queries") else counts[name] for name in values]
    assert expected in ([], [count])
