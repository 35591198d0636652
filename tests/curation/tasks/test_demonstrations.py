"""What few-shot prompts are drawn from."""

from collections import Counter
from itertools import islice

from curation.tasks.demonstrations import Demonstrations
from curation.tasks.question import Question

QUESTIONS = [Question(str(n), "", (), ("x",) if n % 10 else ()) for n in range(100)]


def draw(drawer: Demonstrations, question: str, shots: int) -> list[str]:
    return [one.id for one in islice(drawer.draw(question), shots)]


def test_draws_depend_on_the_seed_and_the_question_alone() -> None:
    drawer, again = Demonstrations(QUESTIONS, 50, 1), Demonstrations(QUESTIONS, 50, 1)
    assert draw(drawer, "a", 8) == draw(again, "a", 8) == draw(drawer, "a", 8)
    assert draw(drawer, "a", 4) == draw(drawer, "a", 8)[:4]
    assert draw(drawer, "b", 8) != draw(drawer, "a", 8)
    assert draw(Demonstrations(QUESTIONS, 50, 2), "a", 8) != draw(drawer, "a", 8)
    assert draw(drawer, "a", 4) == ["2", "26", "59", "94"]


def test_the_pool_is_of_questions_with_answers() -> None:
    assert len(Demonstrations(QUESTIONS, 50, 0).pool) == 50
    pool = Demonstrations(QUESTIONS, 2048, 0).pool
    assert sorted(one.id for one in pool) == sorted(one.id for one in QUESTIONS if one.answers)


def test_a_question_is_no_demonstration_of_itself() -> None:
    drawer = Demonstrations(QUESTIONS, 2048, 0)
    drawn = draw(drawer, "55", 1000)
    assert len(drawn) == len(set(drawn)) == 89
    assert "55" not in drawn


def test_every_question_is_drawn_as_often() -> None:
    drawer = Demonstrations(QUESTIONS[:12], 2048, 0)  # ten of which have an answer
    counts = Counter(one for n in range(2000) for one in draw(drawer, f"q{n}", 4))
    assert set(counts) == {one.id for one in drawer.pool}
    assert all(abs(count - 800) < 5 * (2000 * 0.4 * 0.6) ** 0.5 for count in counts.values())
