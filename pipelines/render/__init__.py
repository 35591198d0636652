"""Renders captions from annotations."""

from pipelines.render.run import preview_record as preview_record
from pipelines.render.run import render_set as render_set
