"""Lists the metrics by the name that a task file gives."""

from curation.scores.answers.choice import CIRCULAR_CHOICE, MULTIPLE_CHOICE
from curation.scores.answers.cider import CIDER
from curation.scores.answers.grounding import GROUNDING
from curation.scores.answers.hallusion import HALLUSION_RULE
from curation.scores.answers.metric import Metric
from curation.scores.answers.rules import ANSWER_RULE, MM_VET_RULE
from curation.scores.answers.safety import ATTACK_SUCCESS_RATE
from curation.scores.answers.text import ANLS, ERROR_RATES, EXACT_MATCH, RELAXED_ACCURACY
from curation.scores.answers.vqa import VQA_ACCURACY
from curation.scores.answers.yes_no import MME, POPE

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(CIDER, VQA_ACCURACY, EXACT_MATCH, ANLS, RELAXED_ACCURACY, MULTIPLE_CHOICE),
        *(POPE, MME, GROUNDING, ERROR_RATES, ATTACK_SUCCESS_RATE),
        *(CIRCULAR_CHOICE, ANSWER_RULE, HALLUSION_RULE, MM_VET_RULE),
    )
}
