"""Carries a foreseen error as data: as an exception it would reach the driver as the text of a traceback."""

from dataclasses import dataclass

from schemas.errors import ShardloomError, UsageError


@dataclass(frozen=True, slots=True)
class Failure:
    """Carries a worker's foreseen error for the driver to raise: Ray keeps an exception's text, but not its cause."""

    message: str
    exit_code: int

    @classmethod
    def from_error(cls, error: ShardloomError) -> "Failure":
        """Returns the failure for an error."""
        return cls(str(error), error.exit_code)

    def to_error(self) -> ShardloomError:
        """Returns the error as it was raised: a `UsageError` or a `ShardloomError`."""
        return UsageError(self.message) if self.exit_code == UsageError.exit_code else ShardloomError(self.message)
