"""Builds the whole model and runs it: image tiles become tokens, which take their places among the text's tokens."""

import torch
from torch import Tensor, nn

from schemas.errors import ShardloomError
from training.batch import Batch
from training.model.config import ModelOptions
from training.model.connector import Connector, InstructedConnector
from training.model.connectors.absent import NoConnector
from training.model.instructions import gather_instructions
from training.model.language import LanguageModel, build_causal_model
from training.model.new_weights import draw_new_weights, leave_blank
from training.model.part_configs import resolve_part_configs
from training.model.tokens import SpecialTokens, TextTokenizer, load_tokenizer
from training.model.towers.cell_groups import count_groups, find_shown_cells, group_cells
from training.model.towers.tower import NoTower, Tower
from training.model.vision import VisionTower

_MAX_NAMED_SAMPLES = 3  # samples to name in an error


class ResamplerLMM(nn.Module):
    """Joins a vision tower, a connector and a causal language model. The tower is frozen until it is unfrozen.

    A language model by itself has a tower and a connector without parameters, and takes no images.
    """

    def __init__(
        self,
        vision: Tower,
        connector: Connector,
        language: LanguageModel,
        special: SpecialTokens,
        options: ModelOptions,
    ) -> None:
        super().__init__()
        self.vision, self.connector, self.language = vision, connector, language
        self.special, self.options = special, options
        self.vision.freeze()

    @classmethod
    def build(
        cls, options: ModelOptions, device: str = "cpu", tokenizer: TextTokenizer | None = None
    ) -> "ResamplerLMM":
        """Builds the model of these options, in float32. New weights are the same for the same seed.

        On the device `meta` the model has shapes and no weights, and only the configuration of pretrained parts is
        read. Raises `UsageError` when a part is not available.
        """
        tokenizer = tokenizer or load_tokenizer(options)
        parts = resolve_part_configs(options) if device == "meta" else options
        with draw_new_weights(options.seed, device):
            with leave_blank(parts.vision != options.vision):
                vision = _build_vision_tower(parts)
            with leave_blank(parts.language != options.language):
                lm = build_causal_model(parts.language, options.attention, options.allow_download)
            lm.tie_weights()  # which a blank one leaves out
            language = LanguageModel(lm, tokenizer.base_vocabulary_size, tokenizer.vocabulary_size, options.head_bias)
            connector = build_connector(options, vision, language.width)
        return cls(vision, connector, language, tokenizer.special, options)

    @property
    def tokens_per_tile(self) -> int:
        """Returns the number of positions that a tile takes in a sequence, or a whole image with `fixed_sampling`."""
        return self.options.count_tokens_per_tile(self.vision.cells)

    @property
    def device(self) -> torch.device:
        """Returns the device of the model, if it is on a single one."""
        return next(self.parameters()).device

    def forward(self, batch: Batch, output_mask: Tensor | None = None) -> Tensor:
        """Computes the logits [n, vocabulary] at the n positions where `output_mask`, bool [B, T], is True, row by row.

        With None these are the logits [B, T, vocabulary] of all positions. Raises `ShardloomError` when images and
        their places in the sequences do not match.
        """
        embeddings = self.splice(self.language.embed(batch.tokens), self.embed_images(batch), batch)
        mask = self.language.build_mask(batch.segments, embeddings.dtype)
        hidden = self.language(embeddings, mask, batch.positions)
        return self.language.compute_logits(hidden if output_mask is None else hidden[output_mask])

    def embed_images(self, batch: Batch) -> Tensor:
        """Computes the image tokens [n, width of the language model], tile after tile.

        Without any tile a frozen tower is skipped, but the connector runs on a dummy input, so that all ranks of a
        sharded model run the same collectives for any batch, and every parameter has a gradient.
        """
        if isinstance(self.connector, NoConnector):
            return self.language.embed(batch.tokens.new_zeros(0))
        features = self.vision(batch.tiles, find_shown_cells(batch.valid, batch.grids))
        if len(features) == 0:
            nothing = torch.cat((features, features.new_zeros((1, *features.shape[1:]))))
            unused: Tensor = self.connector(nothing, None, *self._embed_instructions(batch))
            return unused.flatten(0, 1)[:0]
        cells, valid = group_cells(features, batch.valid, batch.grids, self.options.any_resolution)
        tokens: Tensor = self.connector(cells, valid, *self._embed_instructions(batch))
        return tokens.flatten(0, 1)

    def _embed_instructions(self, batch: Batch) -> tuple[Tensor, ...]:
        """Returns the words of each group's instruction and their mask, for a connector that they condition.

        Without any tile they are those of a dummy, for the reason that `embed_images` gives.
        """
        if not isinstance(self.connector, InstructedConnector):
            return ()
        if len(batch.tiles) == 0:
            ids = batch.tokens.new_zeros((1, 1))
            return self.language.embed(ids), torch.ones_like(ids, dtype=torch.bool)
        groups = count_groups(batch.tiles, batch.grids, self.options.any_resolution)
        self._check_places(batch, groups * self.tokens_per_tile)
        limit = self.connector.max_instruction
        ids, present = gather_instructions(batch, self.special.image, self.tokens_per_tile, limit)
        return self.language.embed(ids), present

    def splice(self, embeddings: Tensor, image_tokens: Tensor, batch: Batch) -> Tensor:
        """Returns the embeddings [B, T, d] with the image tokens, in order, at the batch's image positions.

        Raises `ShardloomError` when their numbers differ.
        """
        places = self._check_places(batch, len(image_tokens))
        return embeddings.masked_scatter(places[..., None], image_tokens.to(embeddings.dtype))

    def _check_places(self, batch: Batch, image_tokens: int) -> Tensor:
        """Returns where image tokens go, bool [B, T]. Raises `ShardloomError` when that is not as many."""
        places = batch.tokens == self.special.image
        if int(places.sum()) != image_tokens:
            raise _make_mismatch_error(places, image_tokens, batch, self.tokens_per_tile)
        return places


def build_connector(options: ModelOptions, vision: Tower, out_width: int) -> Connector:
    """Builds the connector between the tower and a language model of this width, with new weights."""
    if options.vision is None:
        return NoConnector(out_width)
    options.count_tokens_per_tile(vision.cells)  # refuses a connector that can't sample as the options ask
    return options.connector.build(vision.cells, vision.width, out_width)


def _build_vision_tower(options: ModelOptions) -> Tower:
    part = options.vision
    if part is None:
        return NoTower()
    if part.pretrained is None:
        return VisionTower.from_config(part.config, part.feature_layer, part.image_size)
    return VisionTower.load(part.pretrained, options.allow_download, part.feature_layer, part.image_size)


def _make_mismatch_error(places: Tensor, tokens: int, batch: Batch, tokens_per_tile: int) -> ShardloomError:
    counts = places.sum(dim=1).tolist()
    odd = [row for row, count in enumerate(counts) if tokens_per_tile and count % tokens_per_tile] or [
        row for row, count in enumerate(counts) if count
    ]
    names = [f"{name.shard} {name.key}" for row in odd for name in batch.samples[row]]
    more = f" and {len(names) - _MAX_NAMED_SAMPLES} more" if len(names) > _MAX_NAMED_SAMPLES else ""
    return ShardloomError(
        f"model: {sum(counts)} places for image tokens and {tokens} image tokens in a batch with"
        f" {', '.join(names[:_MAX_NAMED_SAMPLES]) or 'no sample that has an image'}{more}; check these samples' images"
    )
