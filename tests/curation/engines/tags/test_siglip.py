"""A tiny SigLIP with random weights, saved as published ones are, against transformers' own forward pass."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from curation.engines.batch_fitter import BatchFitter
from curation.engines.kinds import TAGS, EngineInput
from curation.engines.tags.siglip import SiglipTags
from curation.engines.tags.siglip_settings import SiglipTagSettings
from schemas.errors import UsageError
from schemas.records.tag import Tag
from tests.curation.engines.support.pictures import make_pictures
from tests.curation.engines.support.tiny_siglip import NAMES, PROMPTS, WORDS, save_tiny_siglip, set_json


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("siglip")
    save_tiny_siglip(folder)
    return folder


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tags") / "tags.txt"
    file.write_text("\n".join(NAMES))
    return file


@pytest.fixture(scope="module")
def engine(weights: Path, vocabulary: Path) -> SiglipTags:
    return SiglipTags(settings(weights, vocabulary))


def settings(weights: Path, vocabulary: Path, **others: Any) -> SiglipTagSettings:
    return SiglipTagSettings(**{"weights": str(weights), "vocabulary": str(vocabulary), "device": "cpu"} | others)


def pictures() -> list[NDArray[np.uint8]]:
    """Of many shapes; one is three pixels high, one a single pixel."""
    return make_pictures([(48, 64), (64, 48), (3, 90), (1, 1), (32, 32), (200, 10), (48, 64)])


def transformers_scores(folder: Path, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """By `SiglipModel` as its documentation uses it."""
    model = SiglipModel.from_pretrained(folder).eval()
    ids = [[WORDS.index(word) for word in prompt.split()] for prompt in PROMPTS]
    padded = torch.tensor([one + [0] * (8 - len(one)) for one in ids])
    processor = SiglipImageProcessorPil.from_pretrained(folder)
    pixels = processor(images=images, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        return np.asarray(torch.sigmoid(model(input_ids=padded, pixel_values=pixels).logits_per_image))


def test_scores_are_those_of_transformers(weights: Path, engine: SiglipTags) -> None:
    expected = transformers_scores(weights, pictures())
    assert expected.min() < 0.1 < 0.5 < expected.max()  # else any constant would pass
    assert expected.std(axis=0).min() > 0.01
    np.testing.assert_allclose(engine.score_images(pictures()), expected, atol=1e-5)


def test_batched_as_one_by_one(weights: Path, vocabulary: Path, engine: SiglipTags) -> None:
    batched = SiglipTags(settings(weights, vocabulary, images_per_pass=4))
    one_by_one = np.concatenate([engine.score_images([picture]) for picture in pictures()])
    assert np.array_equal(engine.score_images(pictures()), one_by_one)  # to the bit: images_per_pass is 1 on the CPU
    np.testing.assert_allclose(batched.score_images(pictures()), one_by_one, atol=1e-5)
    assert engine.score_images([]).shape == (0, len(NAMES))


def test_smaller_passes_where_memory_is_full(weights: Path, vocabulary: Path, engine: SiglipTags) -> None:
    batched = SiglipTags(settings(weights, vocabulary, images_per_pass=4))
    sizes: list[int] = []
    score = batched._score_pass

    def score_two(images: Any) -> Any:
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return score(images)

    batched._score_pass = score_two  # type: ignore[method-assign]
    told: list[str] = []
    batch = EngineInput(pictures(), [""] * len(pictures()), [])
    found = BatchFitter(TAGS, batched, told.append).annotate(batch)
    assert sizes == [4, 2, 2, 2, 1]
    assert told == ["tags: out of memory: a worker computes 2 images at a time from here on"]
    alone = [[tag.name for tag in tags] for tags in engine.annotate(pictures(), batch.captions)]
    assert [[tag["name"] for tag in tags] for tags in found] == alone
    assert batched.fingerprint.settings["images_per_pass"] == 4


def test_mentions_in_order_then_what_is_seen_surest_first(weights: Path, vocabulary: Path) -> None:
    image, caption = pictures()[0], "A tree, wine glasses, a HOT DOG"
    scores = dict(zip(NAMES, transformers_scores(weights, [image])[0].tolist(), strict=True))
    floor = sorted(scores.values())[2] - 1e-4
    mentions = [
        Tag("tree", 1.0, "caption", 2, 6),
        Tag("wine glass", 1.0, "caption", 8, 20),
        Tag("hot dog", 1.0, "caption", 24, 31),
    ]
    seen = sorted((name for name in NAMES if scores[name] >= floor), key=lambda name: -scores[name])
    tags = SiglipTags(settings(weights, vocabulary, floor=floor)).annotate([image], [caption])[0]
    assert tags[:3] == mentions
    assert [tag.name for tag in tags[3:]] == seen
    assert [tag.score for tag in tags[3:]] == pytest.approx([scores[name] for name in seen], abs=1e-5)
    assert {(tag.source, tag.start, tag.end) for tag in tags[3:]} == {("image", None, None)}

    surest = SiglipTags(settings(weights, vocabulary, floor=0, max_tags=2, caption=False))
    assert surest.annotate([image], [caption]) == [tags[3:5]]
    assert surest.annotate([], []) == []


def test_equal_scores_are_in_the_order_of_names(weights: Path, vocabulary: Path) -> None:
    alike = np.tile(np.eye(1, 16, dtype=np.float32), (len(NAMES), 1))
    tags = SiglipTags(settings(weights, vocabulary, floor=0), alike).annotate(pictures()[:1], [""])[0]
    assert [tag.name for tag in tags] == sorted(NAMES)


def test_texts_are_embedded_once_and_shared(weights: Path, vocabulary: Path, engine: SiglipTags) -> None:
    prepared = SiglipTags.prepare(settings(weights, vocabulary))
    assert (prepared.shape, prepared.dtype) == ((5, 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(prepared, axis=1), 1, atol=1e-6)
    prepared.flags.writeable = False  # as it comes out of shared memory
    shared = SiglipTags(settings(weights, vocabulary), prepared)
    assert np.array_equal(shared.score_images(pictures()), engine.score_images(pictures()))
    assert shared.fingerprint == engine.fingerprint
    with pytest.raises(ValueError, match=r"prepared is \(4, 16\), not of these weights and this vocabulary"):
        SiglipTags(settings(weights, vocabulary), prepared[:4])


def test_bf16_is_close_and_its_own_engine(weights: Path, vocabulary: Path, engine: SiglipTags) -> None:
    half = SiglipTags(settings(weights, vocabulary, precision="bf16"))
    np.testing.assert_allclose(half.score_images(pictures()), engine.score_images(pictures()), atol=0.05)
    assert (half.fingerprint.settings["precision"], engine.fingerprint.settings["precision"]) == ("bf16", "fp32")


def test_punctuation_and_case_as_each_tokenizer_has_them(weights: Path, vocabulary: Path, tmp_path: Path) -> None:
    second = shutil.copytree(weights, tmp_path / "siglip2")
    set_json(second / "tokenizer_config.json", tokenizer_class="GemmaTokenizer")
    first, other = (SiglipTags.prepare(settings(folder, vocabulary, prompt="{}")) for folder in (weights, second))
    plain = SiglipTags.prepare(settings(weights, vocabulary, prompt="...  {}!"))
    assert np.array_equal(first, plain)
    same = [bool(np.array_equal(one, two)) for one, two in zip(first, other, strict=True)]
    assert same == [True, False, True, True, True]  # "tshirt", but "t-shirt"


def test_fingerprint(weights: Path, vocabulary: Path, engine: SiglipTags, tmp_path: Path) -> None:
    copied = shutil.copytree(weights, tmp_path / "elsewhere")
    same = SiglipTags(settings(copied, Path(shutil.copy(vocabulary, tmp_path / "other.txt")), allow_download=True))
    assert same.fingerprint == engine.fingerprint
    assert engine.fingerprint.settings["prompt"] == "This is a photo of {}."
    assert engine.fingerprint.settings["images_per_pass"] == 1
    tensors = load_file(copied / "model.safetensors")
    save_file({**tensors, "logit_bias": tensors["logit_bias"] + 1}, copied / "model.safetensors", {"format": "pt"})
    assert SiglipTags(settings(copied, vocabulary)).fingerprint.weights_sha256 != engine.fingerprint.weights_sha256


@pytest.mark.parametrize(
    ("others", "problem"),
    [
        ({"weights": None}, "Shardloom ships no weights; pass weights=FOLDER with *.safetensors, config.json, "),
        ({"weights": "/no/such/folder"}, "no folder /no/such/folder; pass weights=FOLDER with *.safetensors, "),
        ({"weights": "google/siglip"}, "no folder google/siglip; pass weights=FOLDER, or allow_download=true to fetch"),
        ({"device": "cuda"}, "no CUDA device here; pass device=cpu or device=auto"),
        (
            {"prompt": "a b c d e f g {}"},
            "tag 'hot dog' makes a prompt of 10 tokens, 8 at most; shorten it or the prom",
        ),
    ],
)
def test_settings_that_cannot_work(weights: Path, vocabulary: Path, others: dict[str, Any], problem: str) -> None:
    if others.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    wrong = SiglipTagSettings.model_validate(settings(weights, vocabulary).model_dump() | others)
    for attempt in (SiglipTags, SiglipTags.prepare):
        with pytest.raises(UsageError) as error:
            attempt(wrong)
        assert str(error.value).startswith(f"siglip: {problem}")


@pytest.mark.parametrize("prompt", ["a photo", "{} and {}", "{name}", "{}}"])
def test_a_prompt_has_one_place_for_the_tag(prompt: str) -> None:
    with pytest.raises(ValidationError, match="prompt"):
        SiglipTagSettings(prompt=prompt)


def test_folders_that_are_unfit(weights: Path, vocabulary: Path, tmp_path: Path) -> None:
    def problem(name: str) -> str:
        with pytest.raises(UsageError) as error:
            SiglipTags(settings(tmp_path / name, vocabulary))
        assert "\n" not in str(error.value)
        return str(error.value).replace(f"{tmp_path}/", "").removeprefix("siglip: ")

    (tmp_path / "empty").mkdir()
    assert problem("empty").startswith(
        "empty lacks config.json and tokenizer.json and tokenizer_config.json and preprocessor_config.json "
        "and *.safetensors; pass weights=FOLDER with "
    )
    for name in ("pickled", "flexible", "broken", "cut", "lacking", "others", "unpadded"):
        shutil.copytree(weights, tmp_path / name)
    (tmp_path / "pickled/model.safetensors").rename(tmp_path / "pickled/pytorch_model.bin")
    assert problem("pickled").startswith("pickled lacks *.safetensors; pass weights=FOLDER with ")
    set_json(tmp_path / "flexible/config.json", model_type="siglip2")
    assert problem("flexible") == "flexible holds a model of type 'siglip2'; pass one of type 'siglip'"
    (tmp_path / "broken/config.json").write_text("[")
    assert problem("broken").startswith("cannot read broken/config.json: JSONDecodeError: ")
    cut = tmp_path / "cut/model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    size = cut.stat().st_size
    assert problem("cut") == (
        f"cannot load cut: model.safetensors has {size:,} bytes, and its header says {size + 100:,}; "
        "fetch it again, or pass another folder"
    )
    lacking = load_file(tmp_path / "lacking/model.safetensors")
    del lacking["logit_scale"]
    save_file(lacking, tmp_path / "lacking/model.safetensors", {"format": "pt"})
    assert problem("lacking") == "lacking lacks 1 of the model's tensors, such as logit_scale; pass another folder"
    words = json.loads((tmp_path / "others/tokenizer.json").read_text())
    words["model"]["vocab"]["extra"] = len(WORDS)
    set_json(tmp_path / "others/tokenizer.json", **words)
    set_json(tmp_path / "unpadded/tokenizer_config.json", pad_token=None)
    assert problem("unpadded") == "the tokenizer in unpadded does not fit the model or cannot pad; pass another folder"
    assert problem("others") == "the tokenizer in others does not fit the model or cannot pad; pass another folder"


def test_an_image_processor_within_a_processor(
    weights: Path, vocabulary: Path, engine: SiglipTags, tmp_path: Path
) -> None:
    folder = shutil.copytree(weights, tmp_path / "saved_by_a_processor")
    alone = folder / "preprocessor_config.json"
    within = {"processor_class": "SiglipProcessor", "image_processor": json.loads(alone.read_text())}
    (folder / "processor_config.json").write_text(json.dumps(within))
    alone.unlink()
    assert np.array_equal(
        SiglipTags(settings(folder, vocabulary)).score_images(pictures()), engine.score_images(pictures())
    )


def test_non_finite_scores_are_an_error(weights: Path, vocabulary: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(weights, tmp_path / "nan")
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "logit_bias": tensors["logit_bias"] * torch.nan}, folder / "model.safetensors")
    with pytest.raises(RuntimeError, match="siglip: non-finite scores in fp32 on cpu"):
        SiglipTags(settings(folder, vocabulary)).annotate(pictures(), [""] * len(pictures()))
