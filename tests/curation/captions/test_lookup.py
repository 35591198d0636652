"""Rows of caption sets and their samples: what is taken for whose, what is ambiguous, what is of other bytes."""

from curation.captions.lookup import Lookup, Row
from schemas.records.identity import Identity
from schemas.records.quarantine import Rejected

Fields = dict[str, str]


def lookup(*rows: tuple[Fields, str]) -> Lookup[str]:
    return Lookup(Row(sample(**fields), value) for fields, value in rows)


def sample(**fields: str) -> Identity:
    return Identity(**{name: fields.get(name) for name in ("shard", "key", "sha256", "uid", "url")})


def own(rows: Lookup[str], **fields: str) -> tuple[str, dict[str, int]] | str | None:
    """The value and the counts, or the reason."""
    try:
        found = rows.find_own(sample(**fields))
    except Rejected as fault:
        return str(fault)
    return found and (found.row.value, found.counts)


def other(rows: Lookup[str], **fields: str) -> tuple[str, dict[str, int]] | str | None:
    try:
        found = rows.find_other(sample(**fields))
    except Rejected as fault:
        return str(fault)
    return found and (found.row.value, found.counts)


def test_our_own_rows_are_found_by_shard_and_key() -> None:
    rows = lookup(
        ({"shard": "0", "key": "a", "sha256": "1", "url": "U"}, "first"),
        ({"shard": "0", "key": "b", "sha256": "1", "url": "U"}, "second"),
        ({"shard": "1", "key": "b", "sha256": "2"}, "third"),
    )
    assert own(rows, shard="0", key="b", sha256="1", url="U") == ("second", {})
    assert own(rows, shard="1", key="b", sha256="2") == ("third", {})


def test_our_own_rows_of_an_image_that_lies_elsewhere_are_counted() -> None:
    rows = lookup(
        ({"shard": "0", "key": "a", "sha256": "1", "uid": "x", "url": "U"}, "first"),
        ({"shard": "0", "key": "b", "sha256": "1", "uid": "y", "url": "U"}, "second"),
        ({"shard": "0", "key": "c", "sha256": "2"}, "third"),
    )
    image = {"joined_by_image": 1}
    assert own(rows, shard="9", key="z", sha256="1", uid="y", url="U") == ("second", image)
    assert own(rows, shard="9", key="a", sha256="2") == ("third", image)
    # the key agrees, and is asked last
    assert own(rows, shard="9", key="a", sha256="1", uid="y") == ("second", image)
    assert own(rows, shard="9", key="a", sha256="1") == ("first", image)
    # another sample of the picture: its caption is right, its alt text may not be
    others = image | {"joined_from_other_ids": 1}
    assert own(lookup(({"sha256": "1", "uid": "x"}, "x")), shard="0", key="b", sha256="1", uid="y") == ("x", others)
    ambiguous = "ambiguous_caption: 2 rows of its image say different things"
    assert own(rows, shard="9", key="z", sha256="1", url="U") == ambiguous
    assert own(lookup(({"sha256": "1"}, "same"), ({"sha256": "1"}, "same")), key="a", sha256="1") == ("same", image)


def test_a_match_says_by_what_it_was_found() -> None:
    rows = lookup(({"shard": "0", "key": "a", "sha256": "1", "uid": "x", "url": "U"}, "one"))
    for fields, by in (({"shard": "0", "key": "a"}, "key"), ({"shard": "9", "key": "z"}, "sha256")):
        found = rows.find_own(sample(sha256="1", **fields))
        assert found is not None
        assert found.matched_by == by
    for asked, by in (({"uid": "x"}, "uid"), ({"url": "U"}, "url"), ({"sha256": "1"}, "sha256")):
        matched = rows.find_other(sample(**asked))
        assert matched is not None
        assert matched.matched_by == by


def test_our_own_rows_of_other_bytes_are_misaligned() -> None:
    rows = lookup(({"shard": "0", "key": "a", "sha256": "1", "uid": "x", "url": "U"}, "one"))
    misaligned = "misaligned: captions of bytes 1, image of 2"
    assert own(rows, shard="9", key="z", sha256="2", uid="x") == misaligned
    assert own(rows, shard="9", key="z", sha256="2", url="U") == misaligned
    assert own(rows, shard="0", key="a", sha256="2") == misaligned
    assert own(rows, shard="0", key="a", sha256="2", uid="another") is None
    assert own(rows, shard="0", key="a", sha256="2", url="another") is None
    assert own(rows, shard="9", key="a", sha256="2") is None


def test_rows_of_others_are_found_by_what_they_have() -> None:
    rows = lookup(
        ({"uid": "x", "url": "U"}, "by uid"),
        ({"url": "U"}, "by address"),
        ({"sha256": "1", "key": "k"}, "by image"),
    )
    assert other(rows, uid="x", url="V") == ("by uid", {})
    assert other(rows, uid="y", url="U") == ("by address", {})
    assert other(rows, uid="y", url="V", sha256="1") == ("by image", {"joined_by_image": 1})
    assert other(rows, url="U") == "ambiguous_caption: 2 rows of its URL say different things"
    assert other(rows, key="k", shard="0") is None


def test_several_rows_of_others() -> None:
    rows = lookup(
        ({"uid": "x", "sha256": "1"}, "first"),
        ({"uid": "x", "sha256": "2"}, "second"),
        ({"url": "U", "sha256": "1"}, "one"),
        ({"url": "U", "sha256": "2"}, "two"),
        ({"url": "V"}, "same"),
        ({"url": "V"}, "same"),
    )
    assert other(rows, uid="x") == ("first", {"ambiguous_captions": 1})
    assert other(rows, uid="x", sha256="2") == ("second", {})
    assert other(rows, url="U", sha256="2") == ("two", {})
    assert other(rows, url="U", sha256="3") == "ambiguous_caption: 2 rows of its URL say different things"
    assert other(rows, url="V") == ("same", {})
