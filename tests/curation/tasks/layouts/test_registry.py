"""The benchmarks that ship."""

from curation.tasks.layouts.registry import LAYOUTS


def test_the_benchmarks_that_ship() -> None:
    assert list(LAYOUTS) == [
        *("coco", "coco_captions", "textcaps"),
        *("vqav2", "okvqa", "textvqa", "vizwiz", "gqa", "docvqa", "chartqa"),
        *("ai2d", "scienceqa", "mmbench", "seed", "seed2", "mmstar", "cvbench", "blink", "qbench2"),
        *("mmmu", "mathvista", "realworldqa", "mantis"),
        *("pope", "mme", "hallusionbench"),
        *("vlguard", "mmvet"),
    ]
    assert all(name == layout.name for name, layout in LAYOUTS.items())
