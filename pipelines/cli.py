"""The command line: thin doors to functions that can be called from Python as well."""

import contextlib
import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from typing import Annotated, Any, Literal, NoReturn

import typer

from pipelines import GRAPH_THREAD
from pipelines import recipe as recipes
from pipelines.terminal import print_captions, print_mixture, print_stats, visible
from schemas.errors import ShardloomError, UsageError
from schemas.recipe_file import held_recipe, read_recipe
from schemas.storage import Folder, use_options

app = typer.Typer(
    name="shardloom",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

INTERRUPTED = 130  # what Typer makes of an interrupt; a SIGTERM may reach us as Ray's exit with the signal's number


@app.callback(invoke_without_command=True)
def shardloom(
    context: typer.Context,
    storage_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="of the object store, as endpoint_url=https://...; may be repeated"),
    ] = None,
) -> None:
    """Annotates web-scale image shards and turns them into training shards for large multimodal models."""
    use_options(storage_option or [])
    if context.invoked_subcommand is None:
        context.get_help()
        raise typer.Exit(UsageError.exit_code)


Output = Annotated[str | None, typer.Option("--output", "-o", help="the output set's folder: a path or an fsspec URL")]
Workers = Annotated[int | None, typer.Option(help="worker processes; default: one a core")]
Address = Annotated[str | None, typer.Option(help="a running Ray cluster; default: RAY_ADDRESS, else one of our own")]
AllowDamaged = Annotated[bool | None, typer.Option("--allow-damaged", help="exit 0 although an input is damaged")]
Tokenizer = Annotated[str | None, typer.Option(help="count tokens by this tokenizer.json, folder, or name on the hub")]
AllowDownload = Annotated[
    bool | None, typer.Option("--allow-download", help="the tokenizer may be a name on the Hugging Face hub")
]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
RecipeFile = Annotated[str | None, typer.Option("--recipe", "-r", help="a YAML recipe; flags are laid over it")]


@app.command(epilog="Example: shardloom annotate ocr,tags,boxes --input 'shards/*.tar' --output annotations")
def annotate(
    what: Annotated[
        str | None, typer.Argument(help="engines (ocr, tags, tags:siglip, boxes), a recipe file, or a set to --add to")
    ] = None,
    input: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="glob of image shards; may be repeated")
    ] = None,
    output: Output = None,
    recipe: RecipeFile = None,
    add: Annotated[str | None, typer.Option(help="engines to add to those of a set; what it holds is reused")] = None,
    weights: Annotated[
        list[str] | None, typer.Option(metavar="ENGINE=FOLDER", help="weights, as boxes=FOLDER; may be repeated")
    ] = None,
    vocabulary: Annotated[str | None, typer.Option(metavar="FILE", help="the tags, one a line")] = None,
    allow_download: Annotated[
        bool | None, typer.Option("--allow-download", help="weights may be a name on the Hugging Face hub")
    ] = None,
    allow_out_of_vocabulary: Annotated[
        bool | None, typer.Option("--allow-out-of-vocabulary", help="demonstration weights for things they don't know")
    ] = None,
    chunk: Annotated[int | None, typer.Option(help="samples a unit of work")] = None,
    workers: Workers = None,
    address: Address = None,
    allow_damaged: AllowDamaged = None,
    json_: Json = False,
) -> None:
    """Annotate image shards: text, tags and boxes in one pass, committed shard by shard.

    The same command takes up a killed run.
    """
    from pipelines.annotate import annotate as run
    from pipelines.engine_flags import engines_of, held_engines

    if what is not None and add is None and what.endswith((".yaml", ".yml")):
        if recipe is not None:
            raise UsageError(f"{what} and --recipe {recipe}: pass one recipe")
        recipe, what = what, None
    values: dict[str, Any] = {}
    reuse = None
    if add is not None:
        if recipe is not None:
            raise UsageError("--add goes by the set's own recipe: leave out --recipe")
        if what is None:
            raise UsageError("--add: name the annotation set, as: shardloom annotate SET --add boxes --output NEW")
        values, reuse, what = held_recipe(Folder(what)), what, add
    elif recipe is not None:
        values = read_recipe(recipe)
    held = held_engines(values, what if add is None else None)
    loaded = recipes.load_recipe(
        recipes.AnnotateRecipe,
        recipe,
        values,
        input=input or None,
        engines=engines_of(what, weights, vocabulary, allow_download, allow_out_of_vocabulary, held),
        chunk={"samples": chunk},
        run=_run(output, workers, address, allow_damaged) | {"reuse": reuse},
    )
    with contextlib.redirect_stdout(sys.stderr):  # where Ray's words on lost workers belong as well
        totals = run(loaded, _output(loaded), quiet=json_)
    _report(totals, _output(loaded), json_)


@app.command(epilog="Example: shardloom render ocr annotations --output captions --granularity 0 --granularity 5")
def render(
    family: Annotated[str, typer.Argument(help="the family of captions: ocr or grounding")],
    annotations: Annotated[str | None, typer.Argument(help="the annotation set's folder")] = None,
    output: Output = None,
    recipe: RecipeFile = None,
    granularity: Annotated[
        list[int] | None, typer.Option(help="0 to 5, grounding 0 to 2; may be repeated; default: all")
    ] = None,
    raw_caption: Annotated[str | None, typer.Option(help="captions with the alt text: with, without or both")] = None,
    min_confidence: Annotated[float | None, typer.Option(help="ocr: leave out lines below it, 0 to 1")] = None,
    min_lines: Annotated[int | None, typer.Option(help="ocr: leave out images with fewer lines of text")] = None,
    caption_from: Annotated[
        str | None,
        typer.Option(
            help="grounding: Parquet files with the captions, by uid, all scanned for every annotation file; "
            "default: the alt texts"
        ),
    ] = None,
    caption_column: Annotated[
        str | None, typer.Option(help="grounding: their column; default: caption, else cogvlm_caption")
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="grounding: leave out boxes below it, 0 to 1")] = None,
    min_boxes: Annotated[int | None, typer.Option(help="grounding: leave out images with fewer boxes")] = None,
    preview: Annotated[str | None, typer.Option(metavar="KEY", help="print the captions of one key or uid")] = None,
    workers: Workers = None,
    address: Address = None,
    json_: Json = False,
) -> None:
    """Render captions from annotations. Calls no engine, reads no image, leaves the annotations as they are."""
    from pipelines.render import preview_record, render_set

    flags: dict[str, Any] = {
        "input": annotations,
        "granularities": granularity or None,
        "raw_caption": raw_caption,
        "min_confidence": min_confidence,
        "min_lines": min_lines,
        "caption_from": caption_from,
        "caption_column": caption_column,
        "min_score": min_score,
        "min_boxes": min_boxes,
        "run": _run(output, workers, address, None),
    }
    loaded: recipes.RenderRecipe | recipes.RenderGroundingRecipe
    if family == "ocr":
        loaded = recipes.load_recipe(recipes.RenderRecipe, recipe, **flags)
    elif family == "grounding":
        loaded = recipes.load_recipe(recipes.RenderGroundingRecipe, recipe, **flags)
    else:
        raise UsageError(f"there is no family of captions {family!r}: use ocr or grounding")
    if preview is None:
        _report(render_set(loaded, _output(loaded), quiet=json_), _output(loaded), json_)
        return
    captions = preview_record(loaded, preview)
    if json_:
        print(json.dumps([asdict(caption) for caption in captions]))
        return
    print_captions(captions)


@app.command(epilog="Example: shardloom shard --images 'shards/*.tar' --captions captions --output training")
def shard(
    images: Annotated[
        list[str] | None, typer.Option("--images", "-i", help="glob of image shards; may be repeated")
    ] = None,
    captions: Annotated[str | None, typer.Option("--captions", "-c", help="the caption set's folder")] = None,
    output: Output = None,
    recipe: RecipeFile = None,
    format: Annotated[str | None, typer.Option(help="webdataset or parquet")] = None,
    samples_per_shard: Annotated[int | None, typer.Option(help="samples in each but the last shard")] = None,
    granularity: Annotated[int | None, typer.Option(help="the caption that becomes the .txt")] = None,
    raw_caption: Annotated[
        bool | None, typer.Option("--raw-caption", help="begin that caption with the alt text")
    ] = None,
    tokenizer: Tokenizer = None,
    allow_download: AllowDownload = None,
    workers: Workers = None,
    address: Address = None,
    allow_damaged: AllowDamaged = None,
    json_: Json = False,
) -> None:
    """Join image shards with captions into training shards, each with an index to plan from."""
    from pipelines.shard import shard as run

    loaded = recipes.load_recipe(
        recipes.ShardRecipe,
        recipe,
        images=images or None,
        captions=captions,
        format=format,
        samples_per_shard=samples_per_shard,
        granularity=granularity,
        raw_caption=raw_caption,
        tokenizer=tokenizer,
        run=_run(output, workers, address, allow_damaged) | {"allow_download": allow_download},
    )
    _report(run(loaded, _output(loaded), quiet=json_), _output(loaded), json_)


@app.command(
    epilog="Example: shardloom ingest obelics --input 'obelics/*.parquet' --images urls.json --output training"
)
def ingest(
    source: Annotated[
        str | None,
        typer.Argument(
            help="mint-html, mint-pdf, mint-arxiv, obelics, kale, cc3m, cc12m, sbu, visual-genome, datacomp, "
            "blip3-ocr, blip3-grounding, llava or text"
        ),
    ] = None,
    input: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="glob of the set's files; may be repeated")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(help="images by URL: glob of img2dataset tars, map (.json) or folder; may be repeated"),
    ] = None,
    download: Annotated[
        bool | None,
        typer.Option("--download", help="have the images by their URLs, with img2dataset; keeps its shards"),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="a host of a private network that may be asked; may be repeated"),
    ] = None,
    output: Output = None,
    recipe: RecipeFile = None,
    format: Annotated[str | None, typer.Option(help="webdataset or parquet")] = None,
    name: Annotated[str | None, typer.Option(help="the set's name in the index; default: that of the source")] = None,
    tokenizer: Tokenizer = None,
    allow_download: AllowDownload = None,
    samples_per_shard: Annotated[int | None, typer.Option(help="the most samples of a shard")] = None,
    bytes_per_shard: Annotated[int | None, typer.Option(help="the most bytes of a shard")] = None,
    lost_image: Annotated[str | None, typer.Option(help="drop_image or drop_document")] = None,
    repeated_images: Annotated[
        str | None, typer.Option(help="images that came before anywhere: keep, or drop the exact or the alike")
    ] = None,
    granularity: Annotated[int | None, typer.Option(help="blip3 sets: the caption that becomes the text")] = None,
    raw_caption: Annotated[
        bool | None, typer.Option("--raw-caption", help="blip3 sets: the one that begins with the alt text")
    ] = None,
    workers: Workers = None,
    address: Address = None,
    allow_damaged: AllowDamaged = None,
    json_: Json = False,
) -> None:
    """Make training shards of a published set of documents, captions or texts. The same command takes up a killed run.

    More filters (number and size of images, length of texts) are set in a recipe, under `filters`.
    """
    from pipelines.ingest import ingest as run

    values = {} if recipe is None else read_recipe(recipe)
    if allow_host and not download and values.get("download") is None:
        raise UsageError("--allow-host is for --download")
    loaded = recipes.load_recipe(
        recipes.IngestRecipe,
        recipe,
        values,
        source=source,
        input=input or None,
        images=images or None,
        download={"by": "img2dataset" if download else None, "allow_hosts": allow_host or None},
        format=format,
        name=name,
        tokenizer=tokenizer,
        samples_per_shard=samples_per_shard,
        bytes_per_shard=bytes_per_shard,
        filters={"lost_image": lost_image},
        repeated_images=repeated_images,
        read={"granularity": granularity, "raw_caption": raw_caption},
        run=_run(output, workers, address, allow_damaged) | {"allow_download": allow_download},
    )
    _report(run(loaded, _output(loaded), quiet=json_), _output(loaded), json_)


@app.command(epilog="Example: shardloom mix recipes/blip3_stage1.yaml --plan")
def mix(
    recipe: Annotated[str, typer.Argument(help="a YAML recipe: sources, weights, and what they count")],
    output: Output = None,
    plan: Annotated[bool, typer.Option("--plan", help="only tell what would come of it; nothing is written")] = False,
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FOLDER", help="where a source of the recipe lies, or a glob; may be repeated"),
    ] = None,
    format: Annotated[str | None, typer.Option(help="webdataset or parquet")] = None,
    samples_per_shard: Annotated[int | None, typer.Option(help="samples in each but the last shard")] = None,
    seed: Annotated[int | None, typer.Option(help="another one gives another order")] = None,
    workers: Workers = None,
    address: Address = None,
    json_: Json = False,
) -> None:
    """Mix sets of training shards into new ones, with exact shares at every prefix. The same command goes on."""
    from pipelines.mix import mix as run
    from pipelines.mix import preview

    loaded = recipes.load_recipe(
        recipes.MixRecipe,
        recipe,
        sources=_named("--source", source),
        format=format,
        samples_per_shard=samples_per_shard,
        seed=seed,
        run=_run(output, workers, address, None),
    )
    if not plan:
        totals = run(loaded, _output(loaded), quiet=json_)
        _report(totals, _output(loaded), json_)
        if isinstance(loaded.stop, int) and totals.rows_out < loaded.stop:
            print(
                f"only {totals.rows_out:,} of {loaded.stop:,} samples: sources ran out, --plan tells which; "
                "allow repeats, or stop sooner",
                file=sys.stderr,
            )
        return
    found = preview(loaded, quiet=json_)
    if json_:
        print(json.dumps(found))
        return
    print_mixture(found)


@app.command(epilog="Example: shardloom verify annotations")
def verify(output: Annotated[str, typer.Argument(help="an output set's folder")], json_: Json = False) -> None:
    """Check every byte, count and offset of an output set. Exits 1 and names the files when one is not as committed."""
    from pipelines.verify import verify as run

    outputs, faults = run(output)
    if json_:
        print(json.dumps({"outputs": outputs, "faults": faults}))
    for fault in faults:
        print(visible(fault), file=sys.stderr)
    if faults:
        raise ShardloomError(f"{output}: {len(faults)} faults in {outputs} outputs")
    if not json_:
        print(f"{output}: {outputs} outputs are as they were committed")


@app.command(epilog="Example: shardloom stats annotations --json")
def stats(output: Annotated[str, typer.Argument(help="an output set's folder")], json_: Json = False) -> None:
    """Print what an output set holds, what was left out and why, and how long it took."""
    from pipelines.stats import stats as run

    found = run(output)
    if json_:
        print(json.dumps(found))
        return
    print_stats(found)


@app.command(epilog="Example: shardloom evaluate boxes annotations --truth truth.jsonl")
def evaluate(
    what: Annotated[str, typer.Argument(help="boxes or ocr")],
    annotations: Annotated[str, typer.Argument(help="the annotation set's folder")],
    truth: Annotated[str, typer.Option(help="the ground truth, JSONL")],
    index: Annotated[str | None, typer.Option(help="JSONL that gives the uid of each of the truth's files")] = None,
    iou: Annotated[float | None, typer.Option(help="boxes: the overlap from which they match; default: 0.5")] = None,
    aliases: Annotated[str | None, typer.Option(help="boxes: JSON object of names to what they mean")] = None,
    json_: Json = False,
) -> None:
    """Compare annotations with a ground truth: precision, recall, F1, AP, or CER and WER, with 95 % intervals."""
    from pipelines.evaluate import IOU, evaluate_boxes, evaluate_ocr
    from pipelines.terminal import print_evaluation

    if what == "boxes":
        found = evaluate_boxes(annotations, truth, index, IOU if iou is None else iou, aliases)
    elif what != "ocr":
        raise UsageError(f"{what!r} can't be evaluated: use boxes or ocr")
    elif iou is not None or aliases is not None:
        raise UsageError("--iou and --aliases are for boxes, not for ocr")
    else:
        found = evaluate_ocr(annotations, truth, index)
    if json_:
        print(json.dumps(found.to_dict()))
        return
    print_evaluation(found.to_dict())


@app.command(
    add_help_option=False,  # the trainer has its own, which torchrun reaches as well
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def train(context: typer.Context) -> None:
    """Train a resampler LMM on training shards: train RECIPE key=value ...; --help tells all."""
    from training.train import main as run

    run(context.args, "shardloom train")


@app.command(epilog="Example: shardloom generate run/model 'What does <image> say?' --image sign.jpg --chat")
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
    from training.generate import answer
    from training.model.generate import GenerateOptions

    options = GenerateOptions(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    said = answer(model, prompt, image or [], options, chat, device)
    print(json.dumps({"answer": said}) if json_ else visible(said))


@app.command(epilog="Example: shardloom engines --build paddleocr")
def engines(
    build: Annotated[str | None, typer.Option(metavar="ENVIRONMENT", help="build what an engine runs in")] = None,
    weights: Annotated[
        list[str] | None, typer.Option(metavar="ENGINE=FOLDER", help="look at these weights, as ocr=FOLDER")
    ] = None,
    json_: Json = False,
) -> None:
    """List the engines by kind: what is ready on this machine, what is missing, and how to get it."""
    from pipelines.engine_list import as_dicts, list_engines
    from pipelines.engine_list import build as run
    from pipelines.terminal import print_engines

    if build is not None:
        folder = run(build)
        print(json.dumps({"environment": build, "folder": folder}) if json_ else folder)
        return
    given = {kind: folders[-1] for kind, folders in _named("--weights", weights).items()}
    listed = as_dicts(list_engines(given))
    if json_:
        print(json.dumps(listed))
        return
    print_engines(listed)


@app.command(epilog="Example: shardloom demo --output demo-output")
def demo(
    output: Annotated[
        str, typer.Option("--output", "-o", help="where to write; may hold an earlier demo")
    ] = "demo-output",
    pictures: Annotated[int, typer.Option(min=12, max=20_000, help="pictures to draw")] = 240,
    workers: Workers = None,
) -> None:
    """Run the whole path on pictures drawn on the spot: no network, no files, a few minutes."""
    from pipelines.demo.flow import demo as run

    run(output, pictures, workers)


def _run(output: str | None, workers: int | None, address: str | None, allow_damaged: bool | None) -> dict[str, Any]:
    return {"output": output, "workers": workers, "address": address, "allow_damaged": allow_damaged}


def _named(option: str, values: list[str] | None) -> dict[str, Any]:
    """The values of an option that is given as NAME=FOLDER; of one name there may be several."""
    named: dict[str, Any] = {}
    for value in values or []:
        name, _, folder = value.partition("=")
        if not name or not folder:
            raise UsageError(f"{option}: {value!r} is not NAME=FOLDER")
        named.setdefault(name, []).append(folder)
    return named


def _output(recipe: recipes.Recipe) -> str:
    if recipe.run.output is None:
        raise UsageError("no output folder: pass --output, or set run.output in the recipe")
    return recipe.run.output


def _report(totals: Any, output: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(totals.to_dict()))
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in totals.reasons.most_common())
    line = f"{output}: {totals.rows_in:,} rows in, {totals.rows_out:,} out, {totals.quarantined:,} quarantined"
    line += f" ({reasons})" if reasons else ""
    lost = totals.counts["lost_images"]  # of samples that are kept
    print(visible(line + (f", {lost:,} images lost" if lost else "")))


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line. Exits 0 when done, 1 when it failed, 2 when it was used wrongly."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # works where SIGINT is ignored, as behind a `&`
    try:
        code = app(args=arguments, standalone_mode=False) or 0
        if code != INTERRUPTED:
            sys.exit(code)
    except ShardloomError as error:
        _fail(f"error: {error}", error.exit_code)
    except SystemExit as stop:
        if stop.code != signal.SIGTERM:
            raise
    except KeyboardInterrupt:
        pass
    except Exception as error:
        if not hasattr(error, "format_message"):  # what all of Typer's errors in options and arguments have
            raise
        _fail(f"error: {error.format_message()} (--help tells more)", UsageError.exit_code)
    _fail("stopped: what is done is kept, the same command goes on", ShardloomError.exit_code)


def _fail(line: str, code: int) -> NoReturn:
    print(visible(" ".join(line.split())), file=sys.stderr, flush=True)
    if any(thread.name == GRAPH_THREAD for thread in threading.enumerate()):
        os._exit(code)  # a graph at a halt can't be stopped, and Ray's own exit would wait for it
    sys.exit(code)
