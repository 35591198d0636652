"""Computes the demo detector's losses. Many places learn from each object, which training from random weights needs.

The Hungarian matching of `transformers` lets only one query learn from an object; 20 minutes of that on two cores find
nothing. Here every place near an object's middle, and every query near the object, learns its box and its tokens; the
engine's non-maximum suppression removes the copies.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import GroundingDinoForObjectDetection

from curation.demo_detector.batches import SceneBatch
from curation.demo_detector.model import STRIDES


@dataclass(frozen=True, slots=True)
class Prediction:
    """Holds the output of one stage: N places or queries for each picture."""

    logits: torch.Tensor  # B, N, T
    boxes: torch.Tensor  # B, N, 4: centre x and y, width, height


def predict(model: GroundingDinoForObjectDetection, batch: SceneBatch) -> list[Prediction]:
    """Returns the encoder's proposals at all places, then each decoder layer's queries, as `forward` computes them."""
    out = model.model(
        pixel_values=batch.pixel_values,
        pixel_mask=batch.pixel_mask,
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
    )
    length = batch.input_ids.shape[1]
    words = out.encoder_last_hidden_state_text.transpose(1, 2)
    stages = [Prediction(out.enc_outputs_class[..., :length], out.enc_outputs_coord_logits.sigmoid())]
    before = out.init_reference_points
    for layer, head in enumerate(model.bbox_embed):
        hidden = out.intermediate_hidden_states[:, layer]
        boxes = (torch.special.logit(before, eps=1e-5) + head(hidden)).sigmoid()
        stages.append(Prediction(hidden @ words, boxes))
        before = out.intermediate_reference_points[:, layer]
    return stages


def compute_detection_loss(stages: list[Prediction], batch: SceneBatch) -> torch.Tensor:
    """Returns the sum of the stages' token and box losses, each divided by its number of (place, object) pairs."""
    present = batch.tokens.any(-1)
    encoder, *decoder = stages
    total = _compute_stage_loss(encoder, _assign_near_centres(batch), batch)
    for stage in decoder:
        total = total + _compute_stage_loss(
            stage, _assign_overlapping(stage.boxes.detach(), batch.boxes, present), batch
        )
    return total


def _compute_stage_loss(stage: Prediction, assigned: torch.Tensor, batch: SceneBatch) -> torch.Tensor:
    """Computes one stage's loss. `assigned`, B, N, M, says which object a place learns from, if any."""
    count = assigned.sum().clamp(min=1)
    rows, places, objects = assigned.nonzero(as_tuple=True)
    boxes, truth = stage.boxes[rows, places], batch.boxes[rows, objects]
    overlap, generalised = compute_iou_and_giou(boxes, truth)
    box_loss = 5 * (boxes - truth).abs().sum() + 2 * (1 - generalised).sum()
    # A place's confidence should grow with its box's overlap, so that the best of several copies survives.
    target = torch.zeros_like(stage.logits)
    target[rows, places] = batch.tokens[rows, objects] * (0.3 + 0.7 * overlap.detach().clamp(min=0))[:, None]
    real = batch.attention_mask.bool()[:, None].expand_as(target)
    logits, target = stage.logits[real], target[real]
    weight = (target - logits.sigmoid()).abs().square().detach()
    token_loss = (weight * functional.binary_cross_entropy_with_logits(logits, target, reduction="none")).sum()
    return (box_loss + 4 * token_loss) / count


def _assign_near_centres(batch: SceneBatch) -> torch.Tensor:
    """Returns B, N, M: the places of both feature maps near an object's middle.

    Near means within a quarter of the object's size, or half a stride.
    """
    found = []
    for stride in STRIDES:
        height, width = (-(-side // stride) for side in batch.pixel_mask.shape[1:])
        mask = functional.interpolate(batch.pixel_mask[None].float(), size=(height, width))[0].bool()
        tall, wide = mask[:, :, 0].sum(1), mask[:, 0].sum(1)
        inside = []
        for axis, length, steps in ((0, width, wide), (1, height, tall)):
            places = (torch.arange(length, device=mask.device) + 0.5) / steps[:, None]
            middle, size = batch.boxes[:, None, :, axis], batch.boxes[:, None, :, axis + 2]
            reach = torch.maximum(size / 4, 0.5 / steps[:, None, None])
            inside.append((places[..., None] - middle).abs() <= reach)
        across, down = inside
        found.append((down[:, :, None] & across[:, None] & mask[..., None]).flatten(1, 2))
    return _keep_smallest_object(torch.cat(found, 1) & batch.tokens.any(-1)[:, None], batch.boxes)


def _keep_smallest_object(assigned: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Lets each place learn only from the smallest of its objects."""
    area = (boxes[..., 2] * boxes[..., 3])[:, None].expand(assigned.shape).masked_fill(~assigned, torch.inf)
    return assigned & functional.one_hot(area.argmin(-1), assigned.shape[-1]).bool()


def _assign_overlapping(boxes: torch.Tensor, truth: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Returns B, Q, M: the queries whose box overlaps an object by more than half, and each object's nearest query."""
    overlap, generalised = compute_iou_and_giou(boxes[:, :, None], truth[:, None])
    generalised = generalised.masked_fill(~present[:, None], -torch.inf)
    nearest = functional.one_hot(generalised.argmax(1), boxes.shape[1]).bool().transpose(1, 2) & present[:, None]
    best = functional.one_hot(generalised.argmax(-1), truth.shape[1]).bool()
    learns = (overlap > 0.5) & best & present[:, None]
    return _keep_smallest_object(torch.where(nearest.any(-1, keepdim=True), nearest, learns), truth)


def compute_iou_and_giou(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the intersection over union, and the generalised one (GIoU), of boxes given by centre and size."""
    a1, a2 = a[..., :2] - a[..., 2:] / 2, a[..., :2] + a[..., 2:] / 2
    b1, b2 = b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2
    shared = (torch.minimum(a2, b2) - torch.maximum(a1, b1)).clamp(min=0).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared
    hull = (torch.maximum(a2, b2) - torch.minimum(a1, b1)).prod(-1)
    overlap = shared / union.clamp(min=1e-9)
    return overlap, overlap - (hull - union) / hull.clamp(min=1e-9)
