"""Tables of an export have a row for each token, whatever the language model's own head is."""

from pathlib import Path

import torch

from tests.training.support import exported, tiny
from training.exports.tables import join_tables


def test_a_head_with_a_bias_of_its_own(tokenizer: Path) -> None:
    """Phi's; without `head_bias` the new tokens have none, and their logits are as in training."""
    made = exported.make(tokenizer, language={"config": tiny.PHI3 | {"model_type": "phi"}}, head_bias=False)
    language, tables = made.model.language, join_tables(made.model, made.state)
    rows, added = language.base_vocabulary_size, language.added_head.out_features
    assert tables.bias is not None
    assert torch.equal(tables.bias[:rows], language.lm.lm_head.bias[:rows])
    assert tables.bias[rows:].tolist() == [0.0] * added
    hidden = torch.randn((3, language.width), generator=torch.Generator().manual_seed(0))
    found = torch.nn.functional.linear(hidden, tables.head, tables.bias)
    torch.testing.assert_close(found, language.compute_logits(hidden), rtol=0, atol=1e-5)
    assert tables.head.shape == tables.embeddings.shape == (rows + added, language.width)
