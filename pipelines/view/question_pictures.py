"""Finds the questions of predictions again, whose rows do not hold the pictures that they are about."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from curation.scores.answers.registry import METRICS
from curation.tasks.files import find_questions
from curation.tasks.images import QuestionImages
from curation.tasks.options import TaskOptions
from curation.tasks.predictions import Predictions
from curation.tasks.question import Question, QuestionImage
from schemas.errors import ShardloomError
from schemas.records.quarantine import Rejected


@dataclass(frozen=True, slots=True)
class QuestionPictures:
    """Holds questions by their ids, and reads their images."""

    questions: Mapping[str, Question] = field(default_factory=dict)
    images: QuestionImages | None = None
    notes: tuple[str, ...] = ()
    """Why there are none, if they were not found."""

    @classmethod
    def find(cls, predictions: Predictions, ids: Collection[str], images: Sequence[str]) -> "QuestionPictures":
        """Finds the questions where the task had them. `images` is the present place of their images, if that moved."""
        try:
            options = TaskOptions.model_validate(predictions.about["options"]).questions
            if images:
                options = options.model_copy(update={"images": images[0]})
            found = find_questions(options, METRICS[predictions.metric], ids)
            return cls(found, QuestionImages(options))
        except ValidationError:
            return cls(notes=(f"{predictions.task}: its options are of another version: its questions are not shown",))
        except ShardloomError as error:
            return cls(notes=(f"{predictions.task}: no picture is shown: {error}",))

    def read(self, image: QuestionImage) -> bytes | None:
        """Returns the bytes of an image; None for one that is not there."""
        try:
            return None if self.images is None else self.images.read(image)
        except Rejected:
            return None
