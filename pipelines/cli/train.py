"""Implements `shardloom train`."""

import typer


def train(context: typer.Context) -> None:
    """Train a resampler LMM on training shards: train RECIPE key=value ...; see train --help."""
    from training.train import main as run

    run(context.args, "shardloom train")
