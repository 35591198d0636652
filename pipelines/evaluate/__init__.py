"""Scores annotations against ground truth, and captions against annotations."""

from pipelines.evaluate.captions import evaluate_captions as evaluate_captions
from pipelines.evaluate.run import evaluate_boxes as evaluate_boxes
from pipelines.evaluate.run import evaluate_ocr as evaluate_ocr
