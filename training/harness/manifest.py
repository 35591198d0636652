"""Declares our models to lmms-eval, which finds this by an entry point of `pyproject.toml`, as `--model shardloom`."""

from lmms_eval.models.registry_v2 import ModelManifest

MANIFEST = ModelManifest(model_id="shardloom", simple_class_path="training.harness.model.ShardloomModel")
