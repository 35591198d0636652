"""Groups the cells of a batch's tiles as the tower and the connector take them."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from training.model.anyres import regroup_as_reference
from training.model.tiling_options import AnyResolutionOptions


def find_shown_cells(valid: Tensor, grids: Tensor) -> Tensor | None:
    """Returns the cells, bool [K, cells], that others may attend to in the tower; None if these are all.

    Of an image that is padded to one tile these are its valid cells, so that its border changes no feature. The tower
    sees the black border of tiles of a grid, as when the weights of xGen-MM were trained.
    """
    if bool(valid.all()):
        return None
    sizes = grids[:, 0] * grids[:, 1] + 1
    is_on_grid = (grids[:, 0] > 0).repeat_interleave(sizes)
    shown = valid | is_on_grid[:, None]
    return None if bool(shown.all()) else shown


def group_cells(
    features: Tensor, valid: Tensor, grids: Tensor, options: AnyResolutionOptions
) -> tuple[Tensor, Tensor | None]:
    """Returns the cells [R, N, width] that become tokens together, and which of them are valid; None: all are.

    A group is a tile, or with `fixed_sampling` an image: then images with fewer cells than the largest of the batch are
    padded with cells that are not valid.
    """
    if options.fixed_sampling:
        features, valid = _join_tiles(features, grids), _join_tiles(valid, grids)
    elif options.tile_order == "reference":
        features, valid = _reorder_as_reference(features, grids), _reorder_as_reference(valid, grids)
    return features, None if bool(valid.all()) else valid


def count_groups(tiles: Tensor, grids: Tensor, options: AnyResolutionOptions) -> int:
    """Counts the groups that `group_cells` makes."""
    return len(grids) if options.fixed_sampling else len(tiles)


def _count_tiles(grids: Tensor) -> list[int]:
    """Counts the tiles of each image, the thumbnails included."""
    return [columns * rows + 1 for columns, rows in grids.tolist()]


def _join_tiles(cells: Tensor, grids: Tensor) -> Tensor:
    """Joins [K, cells, ...] to [images, cells of the largest image, ...]; what is missing in others is zero."""
    counts = _count_tiles(grids)
    if max(counts) == 1:
        return cells
    return pad_sequence([image.flatten(0, 1) for image in torch.split(cells, counts)], batch_first=True)


def _reorder_as_reference(cells: Tensor, grids: Tensor) -> Tensor:
    """Reorders [K, cells, ...] so that each image's cells are in the groups that the released weights expect."""
    images = torch.split(cells, _count_tiles(grids))
    sizes = [(columns, rows) for columns, rows in grids.tolist()]
    return torch.cat([regroup_as_reference(image, size) for image, size in zip(images, sizes, strict=True)])
