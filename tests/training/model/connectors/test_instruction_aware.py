"""The words of an instruction are queries beside the latents; the outputs of the latents alone come out."""

import pytest
import torch
from torch import Tensor

from tests.training.model.connectors.test_perceiver import OPTIONS, OUT, WIDTH, by_the_equations, mask, media
from training.model.connectors.instruction_aware import InstructionAwareOptions
from training.model.connectors.instruction_aware_resampler import InstructionAwareResampler

PRESENT = torch.tensor([[True, True, True, True], [True, True, False, False], [False, False, False, False]])


@pytest.fixture
def resampler() -> InstructionAwareResampler:
    """In float64, every parameter away from its special initial value."""
    torch.manual_seed(0)
    made = InstructionAwareOptions(**OPTIONS.model_dump(exclude={"kind"})).build(1, WIDTH, OUT).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return made


def words() -> Tensor:
    return torch.randn(3, 4, OUT, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_it_is_its_equations(resampler: InstructionAwareResampler) -> None:
    """Those of a resampler whose latents are followed by the projected words."""
    state = resampler.state_dict()
    expected = []
    for cells, valid, spoken, present in zip(media(), mask(), words(), PRESENT, strict=True):
        projected = torch.einsum("lo,wo->lw", spoken[present], state["instruction.weight"]) + state["instruction.bias"]
        queries = torch.cat((state["latents"], projected))
        expected.append(by_the_equations(state | {"latents": queries}, cells, valid)[: OPTIONS.latents])
    made = resampler(media(), mask(), words(), PRESENT)
    assert (made - torch.stack(expected)).abs().max() < 1e-10
    assert made.shape == (3, OPTIONS.latents, OUT)


def test_without_words_it_is_the_perceiver(resampler: InstructionAwareResampler) -> None:
    plain = OPTIONS.build(1, WIDTH, OUT).double()
    plain.load_state_dict({key: value for key, value in resampler.state_dict().items() if "instruction" not in key})
    assert torch.equal(resampler(media(), mask()), plain(media(), mask()))
    absent = torch.zeros_like(PRESENT)
    assert (resampler(media(), mask(), words(), absent) - plain(media(), mask())).abs().max() < 1e-12
    assert resampler.count_flops_per_tile(11) == plain.count_flops_per_tile(11)


def test_the_words_matter_and_padding_does_not(resampler: InstructionAwareResampler) -> None:
    made = resampler(media(), mask(), words(), PRESENT)
    changed = resampler(media(), mask(), words().masked_fill(~PRESENT[..., None], 50), PRESENT)
    assert (made - changed).abs().max() < 1e-12
    other = resampler(media(), mask(), words() + 1, PRESENT)
    assert ((made - other).abs().amax((1, 2)) > 1e-3).tolist() == [True, True, False]
    swapped = resampler(media(), mask(), words()[:, [1, 0, 2, 3]], PRESENT)
    assert (made - swapped).abs().max() < 1e-12  # words have no positions of their own


def test_every_parameter_is_reached_without_words(resampler: InstructionAwareResampler) -> None:
    resampler(media(), None).sum().backward()
    gradient = resampler.instruction.weight.grad
    assert gradient is not None
    assert not gradient.any()
