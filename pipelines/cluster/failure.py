"""A foreseen error as data: as an exception it would reach the driver as the text of a stack."""

from dataclasses import dataclass

from schemas.errors import ShardloomError, UsageError


@dataclass(frozen=True, slots=True)
class Failure:
    """A foreseen error of a worker, for the driver to raise: Ray keeps the text of an exception, but not its cause."""

    message: str
    exit_code: int

    @classmethod
    def of(cls, error: ShardloomError) -> "Failure":
        return cls(str(error), error.exit_code)

    def error(self) -> ShardloomError:
        """The error, as it was raised."""
        return UsageError(self.message) if self.exit_code == UsageError.exit_code else ShardloomError(self.message)
