"""Defines the options of the instruction-aware perceiver resampler."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from training.model.connectors.perceiver import PerceiverOptions

if TYPE_CHECKING:
    from training.model.connectors.instruction_aware_resampler import InstructionAwareResampler


class InstructionAwareOptions(PerceiverOptions):
    """Sets the sizes of a resampler that the first user turn conditions, as in xGen-MM's Figure 8b.

    It is for fine-tuning on conversations: other samples with images have no instruction, and are refused.
    """

    needs_conversations: ClassVar[bool] = True
    kind: Literal["instruction_aware"] = "instruction_aware"  # type: ignore[assignment]
    max_instruction: PositiveInt = Field(
        128, description="first tokens of the turn to use, UNPUBLISHED: no more than latents, so costs double at most"
    )

    def build(self, cells: int, width: int, out_width: int) -> "InstructionAwareResampler":
        """Makes the resampler; it takes any number of cells."""
        from training.model.connectors.instruction_aware_resampler import InstructionAwareResampler
        from training.model.connectors.perceiver_resampler import PerceiverShape

        shape = PerceiverShape(**self.model_dump(exclude={"kind", "max_instruction"}))
        return InstructionAwareResampler(width, out_width, shape, self.max_instruction)
