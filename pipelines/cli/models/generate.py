"""Implements `shardloom generate`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.cli.flags import Json
from schemas.activity import report_activity
from schemas.errors import UsageError
from schemas.extras import require_extra
from schemas.output_set.recipe_file import validate_options
from schemas.terminal import print_json, print_result


def generate(
    model: Annotated[str, typer.Argument(help="a model folder exported by train, or a checkpoint")],
    prompt: Annotated[
        str, typer.Argument(help="a text; <image> marks an image's place; without any, images come first")
    ] = "",
    image: Annotated[
        list[str] | None, typer.Option("--image", "-i", help="an image file or URL; may be repeated, in order")
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="send the prompt as a user's turn of a conversation")] = False,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="maximum number of tokens to generate")] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0: always take the most likely token")] = 0.0,
    top_p: Annotated[
        float, typer.Option(min=0, max=1, help="sample from the most likely tokens that add up to this probability")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="seed of the sampling, with a temperature over 0")] = 0,
    beams: Annotated[int, typer.Option(min=1, help="beams of a beam search, without a temperature; 1: none")] = 1,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto: cuda if available, with bf16 weights")
    ] = "auto",
    json_: Json = False,
) -> None:
    """Let a trained model continue a text with images, or answer it."""
    if beams > 1 and temperature > 0:
        raise UsageError("--beams: a beam search takes the likeliest tokens and draws none: leave out --temperature")
    require_extra("train", "generate")
    _check_paths(model, image or [])
    with report_activity(f"generate: loading {model}", at_once=True):
        from training.inference import answer_prompt
        from training.model.generate import GenerateOptions

        values = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p}
        options = validate_options(GenerateOptions, values | {"seed": seed, "beams": beams}, None, "generate")
        said = answer_prompt(model, prompt, image or [], options, chat, device)
    if json_:
        print_json({"answer": said})
    else:
        print_result(said)


def _check_paths(model: str, images: list[str]) -> None:
    """Raises `UsageError` for a folder or file that does not exist, before PyTorch is imported, which takes seconds."""
    if not Path(model).is_dir():
        raise UsageError(f"model: no folder {model}; pass a folder that train has exported, such as run/model")
    for image in images:
        if "://" not in image and not Path(image).is_file():
            raise UsageError(f"--image {image}: no such file; pass an image's file or URL")
