"""Scores annotations against ground truth."""

from pipelines.evaluate.run import evaluate_boxes as evaluate_boxes
from pipelines.evaluate.run import evaluate_ocr as evaluate_ocr
