"""`render --template`: the same bytes by the built-in wordings as a file, a user's own, and wrong files in one line."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation.captions import presets
from curation.captions.inverse import read_items, read_template
from pipelines.cli.app import main
from pipelines.verify.run import verify
from schemas.layouts.blip3_ocr import parse_captions
from schemas.output_set.layout import read_manifests
from schemas.records.box import Detection
from schemas.storage.folder import Folder
from tests.pipelines.support.sets import annotation_set, caption_set, grounding_set, lines_of, rows

OWN = """\
family: ocr
lead_in: "Text: "
separator: "; "
granularities:
  0: '"{text}"'
  5: '<ref>{text}</ref><box>({x1_pixels},{y1_999})</box>'
"""


@pytest.fixture(scope="module")
def annotations(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("render")
    return annotation_set(make_shards(folder / "images", 2, 10), folder / "annotations")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main(["render", *map(str, arguments)])
    assert isinstance(done.value.code, int)
    return done.value.code


def render(annotations: Path, out: Path, *flags: object) -> int:
    return run("ocr", annotations, "--output", out, "--workers", "1", *flags)


@pytest.mark.parametrize("is_file", [False, True])
def test_the_built_in_wording_as_a_template_gives_the_same_captions(
    annotations: Path, tmp_path: Path, is_file: bool
) -> None:
    template = tmp_path / "copy.yaml"
    template.write_bytes((Path(presets.__file__).parent / "presets/ocr/figure.yaml").read_bytes())
    assert render(annotations, tmp_path / "out", "--template", template if is_file else "figure") == 0
    assert rows(tmp_path / "out") == rows(caption_set(annotations, tmp_path / "today"))


def test_the_built_in_grounding_wording_as_a_template_gives_the_same_captions(
    make_shards: Callable[..., str], tmp_path: Path
) -> None:
    boxes = [
        Detection("picture", "picture", (0.0, 0.1, 1.0, 1.0), 0.5),
        Detection("dog", "dog", (0.0, 0.0, 0.2, 0.2), 0.4),
    ]
    grounding_set(make_shards(tmp_path / "images", 1, 4), tmp_path / "annotations", lambda _: boxes, lambda _: [])
    for out, flags in (("today", []), ("out", ["--template", "figure"])):
        assert run("grounding", tmp_path / "annotations", "--output", tmp_path / out, "--workers", "1", *flags) == 0
    assert len(rows(tmp_path / "out")) == 4
    assert rows(tmp_path / "out") == rows(tmp_path / "today")


def test_a_set_by_a_template_of_ones_own(annotations: Path, tmp_path: Path, own: Path) -> None:
    out = tmp_path / "out"
    assert render(annotations, out, "--template", own) == 0
    assert verify(str(out)) == (2, [])
    metadata = pq.read_schema(out / "data/00000000.parquet").metadata
    assert sorted(metadata) == [b"source_revision", b"template", b"template_version"]
    template = read_template(metadata, "ocr")
    assert template is not None
    for row in rows(out):
        captions = parse_captions(row["captions"])
        assert [(one.granularity, one.include_datacomp_raw_cap) for one in captions] == [
            (0, False), (5, False), (0, True), (5, True)
        ]  # fmt: skip
        for caption in captions:
            items = read_items(template, caption.granularity, caption.text)
            assert [item.text for item in items] == [line.text for line in lines_of(row["key"])]


def test_the_manifest_and_the_recipe_hold_the_template(annotations: Path, tmp_path: Path, own: Path) -> None:
    out = tmp_path / "out"
    assert render(annotations, out, "--template", own) == 0
    for manifest in read_manifests(Folder(str(out))).values():
        found = manifest.fingerprints["template"]
        assert (found.name, found.weights_sha256) == ("template", hashlib.sha256(OWN.encode()).hexdigest())
        assert set(manifest.fingerprints) == {"ocr", "template"}
    recipe = (out / "recipe.yaml").read_text()
    assert f"template: {own}\n" in recipe
    assert "granularities:\n- 0\n- 5\n" in recipe


def test_another_template_is_refused_where_captions_are(
    annotations: Path, tmp_path: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert render(annotations, out, "--template", own) == 0
    before = {path: path.read_bytes() for path in out.rglob("*.parquet")}
    own.write_text(OWN.replace("Text", "Words"))
    capsys.readouterr()
    assert render(annotations, out, "--template", own) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: the template has changed since {out}/data/00000000 was committed: use a new output folder"
    ]
    own.write_text(OWN)
    assert render(annotations, out, "--template", own) == 0
    assert render(annotations, out) == 2
    assert f"error: {out} holds another recipe (" in (refused := capsys.readouterr().err)
    assert refused.endswith(" there and None here): use a new output folder\n")  # what differs is shortened before
    assert {path: path.read_bytes() for path in out.rglob("*.parquet")} == before


def test_granularities_are_chosen_among_those_of_the_template(
    annotations: Path, tmp_path: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render(annotations, tmp_path / "out", "--template", own, "--granularity", "5") == 0
    for row in rows(tmp_path / "out"):
        assert [one.granularity for one in parse_captions(row["captions"])] == [5, 5]
    capsys.readouterr()
    assert render(annotations, tmp_path / "other", "--template", own, "--granularity", "4") == 2
    assert capsys.readouterr().err == f"error: granularities: template {own} has 0, 5 and not 4\n"
    assert not (tmp_path / "other").exists()


def test_the_preview_takes_a_template_and_granularities(
    annotations: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = next(row["key"] for row in rows(annotations) if lines_of(row["key"]))
    flags = ["--template", own, "--granularity", "0", "--raw-caption", "without", "--preview", key]
    assert run("ocr", annotations, *flags, "--json") == 0
    texts = "; ".join(f'"{line.text}"' for line in lines_of(key))
    expected = [{"text": f"Text: {texts}", "granularity": 0, "include_datacomp_raw_cap": False}]
    assert json.loads(capsys.readouterr().out) == expected
    assert run("ocr", annotations, *flags) == 0
    assert f"Text: {texts}" in capsys.readouterr().out


def test_a_recipe_names_a_template_beside_it(annotations: Path, tmp_path: Path, own: Path) -> None:
    recipe = tmp_path / "render.yaml"
    recipe.write_text(f"kind: render\nfamily: ocr\ninput: {annotations}\ntemplate: own.yaml\n")
    assert run("ocr", "--recipe", recipe, "--output", tmp_path / "out", "--workers", "1") == 0
    assert f"template: {own}\n" in (tmp_path / "out/recipe.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("absent.yaml", None, "cannot read template {path}: No such file or directory"),
        ("wrong.yaml", "family: ocr\ngranularities: {0: '{text.upper}'}",
         "template {path}: granularities.0: {{text.upper}}: only the name of a field can stand in braces; "
         "write {{{{ and }}}} for braces"),
        ("wrong.yaml", "family: grounding\ngranularities: {0: '{label}'}",
         "template {path} is for grounding captions, not for ocr"),
        (".", None, "cannot read template {path}: Is a directory"),
    ],
)  # fmt: skip
def test_a_wrong_template_is_refused_before_any_work(
    annotations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str | None, fault: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    assert render(annotations, tmp_path / "out", "--template", path) == 2
    assert capsys.readouterr().err == f"error: {fault.format(path=path)}\n"
    assert not (tmp_path / "out").exists()


def test_an_unknown_preset_is_refused(annotations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render(annotations, tmp_path / "out", "--template", "florence") == 2
    assert capsys.readouterr().err == (
        "error: no template for ocr captions is named 'florence': use body, deepseek-vl2, figure, internvl, "
        "json-pixels, qwen-vl, upto, or ./florence for a file\n"
    )
