"""Wraps a causal language model of transformers, and adds the tokens that images need.

The tables of a published model stay unchanged. The new tokens' rows are kept separately, as in xGen-MM, whose logits
are 32015 wide: 32012 of Phi-3's 32064 rows (those that have a token), and three new ones.
"""

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from curation.engines.weights import WeightsFormat
from schemas.errors import UsageError, to_one_line
from training.model.attention import Implementation, build_packed_mask
from training.model.config import PartOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedConfig, PreTrainedModel
    from transformers.cache_utils import Cache

NEW_ROW_STD = 0.02  # initial standard deviation of new rows; xGen-MM takes it from Phi-3's initializer_range

_WEIGHTS = WeightsFormat(
    engine="language",
    required_files="config.json and *.safetensors of a causal language model",
    download_patterns=("config.json", "*.safetensors", "*.safetensors.index.json"),
    key="model.language.pretrained",
    switch="model.allow_download=true",
)
_LOGIT_SCALE_SETTINGS = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
)  # set by models that scale logits after the head


_EXPERT_COUNT_SETTING = re.compile(r"(?:moe_)?n(?:um)?_(?:local_|routed_)?experts")
"""Matches the settings that give the number of experts of a layer."""
_EXPERT_MODULE = re.compile(r"(?:^|[._])(?:experts?|moe|router)(?:[._]|$)")
"""Matches the module paths of a mixture of experts."""


class LanguageModel(nn.Module):
    """Maps embeddings to hidden states by a causal language model, and holds the tables for tokens and logits.

    `embed` and `compute_logits` are not called by `forward`: a caller that shards the model must leave the tables in
    the group of the module whose `forward` calls them.
    """

    def __init__(self, lm: "PreTrainedModel", own_tokens: int, vocabulary_size: int, head_bias: bool) -> None:
        """Extends `lm`, whose tokenizer has `own_tokens` tokens with the pad, to `vocabulary_size` tokens.

        The bias starts at 0, so that the logits are the same at first as without one (xGen-MM's started at random).
        Raises `UsageError` when the tokenizer has more tokens than the model.
        """
        super().__init__()
        self.lm = lm
        self.implementation: Implementation = lm.config._attn_implementation
        table, head = _get_tables(lm)
        rows, self.width = table.weight.shape
        if own_tokens > rows + 1:  # the pad may be beyond the table
            raise UsageError(
                f"language: the model has {rows} tokens and the tokenizer {own_tokens}; pass the model's own tokenizer"
            )
        self.base_vocabulary_size = min(own_tokens, rows)
        added = vocabulary_size - self.base_vocabulary_size
        table.padding_idx = None  # Phi-3's is its end of text, which would get no gradient
        self.added_embeddings = nn.Embedding(added, self.width)
        self.added_head = nn.Linear(self.width, added, bias=head_bias)
        nn.init.normal_(self.added_embeddings.weight, std=NEW_ROW_STD)
        nn.init.normal_(self.added_head.weight, std=NEW_ROW_STD)
        if head_bias:
            nn.init.zeros_(self.added_head.bias)
        needed = head_bias and head.bias is None
        self.head_bias = nn.Parameter(torch.zeros(head.weight.shape[0], device=head.weight.device)) if needed else None

    @property
    def vocabulary_size(self) -> int:
        """Returns the width of the logits."""
        return self.base_vocabulary_size + self.added_embeddings.num_embeddings

    @property
    def layers(self) -> nn.ModuleList:
        """Returns the decoder's layers, which are sharded, recomputed and compiled one by one."""
        layers: nn.ModuleList = self.lm.base_model.layers  # type: ignore[assignment]
        return layers

    def embed(self, tokens: Tensor) -> Tensor:
        """Returns the embeddings [B, T, width] of tokens [B, T]."""
        own: Tensor = self.lm.get_input_embeddings()(tokens.clamp(max=self.base_vocabulary_size - 1))
        if self.vocabulary_size == self.base_vocabulary_size:  # the tokenizer already had all that is needed
            return own
        new = self.added_embeddings((tokens - self.base_vocabulary_size).clamp(min=0))
        return torch.where((tokens >= self.base_vocabulary_size)[..., None], new, own)

    def find_windows(self) -> dict[str, int | None]:
        """Returns how many positions a position sees, itself included, by kind of layer; None: all before it.

        A model whose layers are all alike has one kind.
        """
        window = getattr(self.lm.config, "sliding_window", None)
        windows = {"full_attention": None, "sliding_attention": window}
        kinds = sorted(set(getattr(self.lm.config, "layer_types", None) or ()))
        return {kind: windows[kind] for kind in kinds} or {"attention": window}

    def build_mask(self, segments: Tensor, dtype: torch.dtype) -> Any:
        """Builds the mask with which `forward` keeps segments apart: a `build_packed_mask`, or one by kind of layer."""
        masks = {
            kind: build_packed_mask(segments, self.implementation, dtype, window)
            for kind, window in self.find_windows().items()
        }
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def forward(
        self, embeddings: Tensor, attention_mask: Any, positions: Tensor, cache: "Cache | None" = None
    ) -> Tensor:
        """Returns the hidden states [B, T, width] after the last norm; embeddings alike, positions are [B, T].

        Without a mask each position sees all before it, and what the cache holds.
        """
        out = self.lm.base_model(
            inputs_embeds=embeddings,
            attention_mask=attention_mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        hidden: Tensor = out.last_hidden_state
        return hidden

    def compute_logits(self, hidden: Tensor) -> Tensor:
        """Returns the logits [..., vocabulary] of hidden states [..., width]."""
        _, head = _get_tables(self.lm)
        bias = head.bias if self.head_bias is None else self.head_bias
        own = functional.linear(
            hidden,
            head.weight[: self.base_vocabulary_size],
            None if bias is None else bias[: self.base_vocabulary_size],
        )
        return torch.cat((own, self.added_head(hidden)), dim=-1)

    @contextmanager
    def use_attention(self, implementation: Implementation) -> "Iterator[None]":
        """Switches to another attention implementation while the block lasts."""
        before = self.implementation
        self.implementation = implementation
        self.lm.set_attn_implementation(implementation)
        try:
            yield
        finally:
            self.implementation = before
            self.lm.set_attn_implementation(before)


def build_causal_model(options: PartOptions, attention: Implementation, allow_download: bool) -> "PreTrainedModel":
    """Loads the language model in float32, or makes a new one from torch's random numbers.

    Raises `UsageError` for one that is not available, not causal, or not supported.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    if options.pretrained is None:
        return _build_from_config(_build_config(options.config), attention)
    folder = _WEIGHTS.find_local_folder(options.pretrained, allow_download) or _WEIGHTS.fetch(options.pretrained)
    _WEIGHTS.read_model_type(folder)
    _refuse_mixture_of_experts(_WEIGHTS.load(folder, AutoConfig, trust_remote_code=False))  # before gigabytes are read
    model, loaded = _WEIGHTS.load(
        folder,
        AutoModelForCausalLM,
        use_safetensors=True,
        trust_remote_code=False,
        dtype=torch.float32,
        attn_implementation=attention,
        output_loading_info=True,
    )
    for key, what in (("missing_keys", "lacks"), ("unexpected_keys", "has, but no such model uses,")):
        if names := sorted(loaded[key]):
            raise _WEIGHTS.unfit_error(
                f"{folder} {what} {len(names)} tensors, {names[0]} for example; pass another folder"
            )
    return _check_supported(model)


def _build_config(settings: dict[str, Any]) -> "PreTrainedConfig":
    from transformers import AutoConfig

    try:
        return AutoConfig.for_model(**settings)
    except Exception as error:  # noqa: BLE001  no or an unknown model_type, impossible values
        what = to_one_line(error, with_type=True)
        raise UsageError(f"language: no model can be made of language.config: {what}") from None


def _build_from_config(config: "PreTrainedConfig", attention: Implementation) -> "PreTrainedModel":
    from transformers import AutoModelForCausalLM

    _refuse_mixture_of_experts(config)
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, attn_implementation=attention, dtype=torch.float32, trust_remote_code=False
        )
    except (ValueError, TypeError, ImportError) as error:
        what = to_one_line(error, with_type=True)
        raise UsageError(f"language: no causal model can be made of language.config: {what}") from None
    return _check_supported(model)


def _check_supported(model: "PreTrainedModel") -> "PreTrainedModel":
    for name in _LOGIT_SCALE_SETTINGS:
        if getattr(model.config, name, None) not in (None, 1, 1.0):
            raise UsageError(f"language: {model.config.model_type} scales its logits ({name}); pass another model")
    if not isinstance(getattr(model.base_model, "layers", None), nn.ModuleList):  # GPT-2's are `h`, OPT's are deeper
        raise UsageError(
            f"language: {model.config.model_type} has no decoder layers named `layers`; pass another model"
        )
    if other := set(getattr(model.config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}:
        raise UsageError(f"language: {model.config.model_type} has layers of {other.pop()}; pass another model")
    if next((name for name, _ in model.named_modules() if _EXPERT_MODULE.search(name)), None) is not None:
        raise _make_experts_error(model.config.model_type)
    return model


def _refuse_mixture_of_experts(config: "PreTrainedConfig") -> None:
    """Raises `UsageError` for a mixture of experts.

    Training does not add the auxiliary losses, and FLOPs and size-based learning rates would count all experts as used.
    """
    for name, value in config.get_text_config().to_dict().items():
        if _EXPERT_COUNT_SETTING.fullmatch(name) and isinstance(value, int) and value > 1:
            raise _make_experts_error(config.model_type)


def _make_experts_error(kind: str) -> UsageError:
    return UsageError(f"language: {kind} is a mixture of experts, which can't be trained here yet; pass a dense model")


def _get_tables(lm: "PreTrainedModel") -> tuple[nn.Embedding, nn.Linear]:
    table, head = lm.get_input_embeddings(), lm.get_output_embeddings()  # type: ignore[no-untyped-call]
    assert isinstance(table, nn.Embedding)
    assert isinstance(head, nn.Linear)
    return table, head
