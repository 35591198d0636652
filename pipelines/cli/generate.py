"""`shardloom generate`."""

from typing import Annotated, Literal

import typer

from pipelines.cli.flags import Json
from schemas.extras import require_extra
from schemas.terminal import say, say_json


def generate(
    model: Annotated[str, typer.Argument(help="a folder that train has exported")],
    prompt: Annotated[
        str, typer.Argument(help="a text; <image> is an image's place, without any they come first")
    ] = "",
    image: Annotated[
        list[str] | None, typer.Option("--image", "-i", help="a file or URL; may be repeated, in their order")
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="put it as a user's turn, to be answered")] = False,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="the most tokens of an answer")] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the likeliest token")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="of the likeliest tokens of this probability")] = 1.0,
    seed: Annotated[int, typer.Option(help="of the draws, with a temperature")] = 0,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto: cuda where there is one; its weights are bf16 there")
    ] = "auto",
    json_: Json = False,
) -> None:
    """Let a trained model go on after a text with images, or answer it."""
    require_extra("train", "generate")
    from training.generate import answer
    from training.model.generate import GenerateOptions

    options = GenerateOptions(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    said = answer(model, prompt, image or [], options, chat, device)
    if json_:
        say_json({"answer": said})
    else:
        say(said, is_result=True)
