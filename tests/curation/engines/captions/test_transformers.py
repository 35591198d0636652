"""Captions by models of transformers: none depends on its batch, and no text of the web is taken for a command."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config

from curation.engines.captions.transformers import ENGINE
from curation.engines.captions.transformers_settings import TransformersSettings
from curation.engines.declaration import OtherEngines
from curation.engines.kinds import CaptionAnswer, CaptionEngine, CaptionRequest
from schemas.errors import UsageError
from tests.curation.engines.support.tiny_captioner import (
    CHAT_TEMPLATE,
    SPECIAL,
    TOKENS_OF_IMAGE,
    save_tiny_gemma,
    save_tiny_idefics,
    save_tiny_llama,
    save_tiny_llava,
    set_generation,
)

NEW = 12
MARKERS = 3  # <s>, <|user|> and <|assistant|>
LONGEST = 256 - NEW - MARKERS - TOKENS_OF_IMAGE  # of a prompt, in bytes


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    save_tiny_llava(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    save_tiny_llama(folder)
    return folder


@pytest.fixture
def copy(llava: Path, tmp_path: Path) -> Path:
    """The model, to be changed."""
    return Path(shutil.copytree(llava, tmp_path / "copy"))


def make(folder: Path, **settings: Any) -> CaptionEngine:
    return ENGINE.make(TransformersSettings(**({"weights": str(folder), "max_new_tokens": NEW} | settings)))


def ask(prompt: str, seed: int | None = 0, name: str = "a") -> CaptionRequest:
    """A request with an image, whose shape depends on the seed as its pixels do, or with none."""
    if seed is None:
        return CaptionRequest(name, prompt, None)
    pixels = np.random.default_rng(seed).integers(0, 256, (20 + seed, 30, 3), dtype=np.uint8)
    return CaptionRequest(name, prompt, pixels)


REQUESTS = [ask("word " * (seed % 4) + str(seed), 7 * seed, f"key {seed}") for seed in range(6)]
TEXTS = [ask(f"{seed} word" + " more" * (seed % 4), None, f"key {seed}") for seed in range(6)]


@pytest.mark.parametrize("save", [save_tiny_llava, save_tiny_gemma, save_tiny_idefics])
def test_an_image_has_the_caption_that_it_has_alone(save: Callable[[Path], None], tmp_path: Path) -> None:
    """Whatever is beside it, and wherever a pass ends."""
    save(tmp_path)
    alone = make(tmp_path).annotate(REQUESTS)
    assert [answer.id for answer in alone] == [request.id for request in REQUESTS]
    assert all(answer.completion_tokens for answer in alone), "each was asked"
    assert len({answer.text for answer in alone}) >= len(REQUESTS) // 2
    for size in (4, 6):
        assert make(tmp_path, images_per_pass=size).annotate(REQUESTS) == alone
    assert make(tmp_path, images_per_pass=6).annotate(REQUESTS[::-1]) == alone[::-1]


def test_a_text_is_rewritten_as_it_is_alone(llama: Path, llava: Path) -> None:
    """By a language model, or by one that could read images."""
    for folder in (llama, llava):
        alone = make(folder, send_image=False).annotate(TEXTS)
        assert len({answer.text for answer in alone}) > len(TEXTS) // 2
        assert make(folder, send_image=False, images_per_pass=6).annotate(TEXTS) == alone
    assert not ENGINE.reads_pixels(TransformersSettings(send_image=False))
    assert ENGINE.reads_pixels(TransformersSettings())


def test_a_penalty_of_the_author_does_not_count_the_padding(copy: Path) -> None:
    plain = make(copy).annotate(REQUESTS)
    set_generation(copy, repetition_penalty=5.0, do_sample=True, temperature=9.0, max_length=40, num_beams=3)
    assert make(copy, images_per_pass=6).annotate(REQUESTS) == plain


def test_tokens_are_counted_and_a_cut_caption_is_truncated(llava: Path, copy: Path) -> None:
    request = ask("abc")
    [cut] = make(llava).annotate([request])
    assert (cut.status, cut.finish_reason) == ("truncated", "length")
    assert (cut.prompt_tokens, cut.completion_tokens) == (MARKERS + TOKENS_OF_IMAGE + 3, NEW)
    said = generate_tokens(llava, request)
    set_generation(copy, eos_token_id=[258, said[4]])
    [whole] = make(copy).annotate([request])
    first = said.index(said[4])
    assert (whole.status, whole.finish_reason, whole.completion_tokens) == ("ok", "stop", first + 1)
    assert cut.text.startswith(whole.text[:1])


def generate_tokens(folder: Path, request: CaptionRequest) -> list[int]:
    """The tokens that the model says, by the captioner's own parts."""
    engine: Any = make(folder)
    [tokens] = engine._generate(engine._chats.build_inputs([request]))
    return list(tokens)


def test_names_of_special_tokens_in_a_prompt_are_text(llava: Path, llama: Path) -> None:
    """Each by a space behind its first letter; then no image is taken for one that was not sent."""
    text, spaces = "".join(SPECIAL), len(SPECIAL)
    [answer] = make(llava).annotate([ask(text)])
    assert answer.prompt_tokens == MARKERS + TOKENS_OF_IMAGE + len(text) + spaces
    [answer] = make(llama, send_image=False).annotate([ask(text, None)])
    assert answer.prompt_tokens == MARKERS + len(text) + spaces
    spaced = "".join(f"{name[0]} {name[1:]}" for name in SPECIAL)
    assert make(llava).annotate([ask(text)]) == make(llava).annotate([ask(spaced)])


def test_a_prompt_that_is_too_long_costs_no_neighbour(llava: Path) -> None:
    requests = [ask("x" * LONGEST, 0, "fits"), ask("x" * (LONGEST + 1), 1, "long"), ask("x", 2, "short")]
    answers = make(llava, images_per_pass=3).annotate(requests)
    assert [answer.status != "error" for answer in answers] == [True, False, True]
    assert answers[1] == CaptionAnswer(
        "long",
        "",
        "error",
        detail=f"a prompt of {256 - NEW + 1} tokens and {NEW} new ones exceed the model's limit of 256; shorten the "
        "prompt, or pass a lower max_new_tokens",
    )
    assert make(llava).annotate(requests) == answers


def test_a_large_image_is_reduced_before_the_model_sees_it(llava: Path) -> None:
    tall = np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (4, 64, 3))
    whole = CaptionRequest("a", "b", np.ascontiguousarray(tall))
    one: Any = make(llava, image_side=128)
    [turn] = one._chats._build_conversation(whole)
    assert turn["content"][0]["image"].size == (8, 128)


def test_the_fingerprint_names_all_that_a_caption_depends_on(llava: Path, copy: Path) -> None:
    mark = make(llava).fingerprint
    assert mark.name == "transformers"
    assert mark.settings | {"configuration": ""} == {
        "send_image": True,
        "image_side": 1024,
        "max_new_tokens": NEW,
        "device": "cpu",
        "precision": "fp32",
        "images_per_pass": 1,
        "threads": 1,
        "image_processor": "CLIPImageProcessorPil",
        "configuration": "",
    }
    assert make(copy).fingerprint == mark
    (copy / "chat_template.jinja").write_text(f"{CHAT_TEMPLATE}Sure:")
    assert make(copy).fingerprint.settings["configuration"] != mark.settings["configuration"]


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def use_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def lose_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors[min(tensors)]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def break_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no such role') }}")


def use_encoder_decoder(folder: Path) -> None:
    T5Config().save_pretrained(folder)


def use_language_model(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config["text_config"]))


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (
        remove("config.json"),
        "lacks config.json; pass weights=FOLDER with \\*.safetensors, config.json, tokenizer_config",
    ),
    (remove("processor_config.json"), "lacks preprocessor_config.json; pass"),
    (remove("chat_template.jinja"), "has no chat template; pass a model that is trained to answer$"),
    (break_template, "cannot format a prompt by the chat template of .*no such role; pass another folder$"),
    (use_pickle, "holds no \\*.safetensors; pass weights=FOLDER"),
    (cut_weights, "cannot load .*: model.safetensors has [0-9,]+ bytes, and its header says"),
    (lose_tensor, "lacks 1 of the model's tensors, such as "),
    (use_encoder_decoder, "holds a t5, which is an encoder with a decoder"),
    (use_language_model, "holds a llama, which takes no images; pass send_image=false, or another folder$"),
]


@pytest.mark.parametrize(("spoil", "fault"), FAULTS)
def test_an_unfit_folder_is_refused_in_one_line(copy: Path, spoil: Callable[[Path], None], fault: str) -> None:
    spoil(copy)
    with pytest.raises(UsageError, match=f"^transformers: .*{fault}") as caught:
        make(copy)
    assert "\n" not in str(caught.value)


def test_code_in_a_folder_is_not_run(copy: Path) -> None:
    path = copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoConfig": "own.Own"}}))
    (copy / "own.py").write_text(f"open({str(copy / 'ran')!r}, 'w')\n")
    make(copy)
    assert not (copy / "ran").exists()


def test_the_check_before_a_run_loads_nothing(tmp_path: Path) -> None:
    others = OtherEngines()
    with pytest.raises(UsageError, match=r"^transformers: Shardloom ships no weights; pass weights=FOLDER with"):
        ENGINE.check(TransformersSettings(), others)
    with pytest.raises(UsageError, match=r"or allow_download=true to fetch it from the hub$"):
        ENGINE.check(TransformersSettings(weights="some/model"), others)
    assert ENGINE.check(TransformersSettings(weights="some/model", allow_download=True), others) == []
    with pytest.raises(UsageError, match=r"lacks config\.json and tokenizer_config\.json and preprocessor_config"):
        ENGINE.check(TransformersSettings(weights=str(tmp_path)), others)
