"""Messages a person can act on, and errors that survive the way home from a worker process."""

from __future__ import annotations

import pickle

import pytest

from pgsbench.errors import ConfigError, DataError, UserError, mended, nearest, without_password


def test_a_message_says_where_rule_value_and_way_out() -> None:
    error = DataError("must be small", where="a.b", value=3, way_out="choose 1")
    assert str(error) == "a.b: must be small (got 3)\n  -> choose 1"


def test_collected_problems_are_collected_again_under_the_file_that_they_share() -> None:
    inner = ConfigError.collect([DataError("first", where="a"), DataError("second", where="b")])
    outer = ConfigError.collect([inner, DataError("third").moved(lambda where: where + "c")], where="f.yaml")
    assert str(outer) == "f.yaml: 3 problems\n- a: first\n- b: second\n- c: third"


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(DataError("rule", where="w", value=2, way_out="out")))
    assert (type(error), str(error)) == (DataError, "w: rule (got 2)\n  -> out")


@pytest.mark.parametrize(
    ("words", "value", "command"),
    [
        ("train my.yaml --arm pgss", "pgss", "pgsbench train my.yaml --arm pgs"),
        ("compare --baselines flip,pgss", "pgss", "pgsbench compare --baselines flip,pgs"),
        ("train my.yaml --set pgss.x=1", "pgss", "pgsbench train my.yaml --set pgs.x=1"),
        ("train pgss.yaml", "unknown", ""),  # a mistake in the file
        ("train zzz", "zzz", ""),  # nothing is near
    ],
)
def test_the_command_with_the_nearest_name_can_be_pasted(words: str, value: str, command: str) -> None:
    error = UserError("no", value=value, way_out=nearest(value, ["pgs"]))
    for one in (error, ConfigError.collect([ConfigError("other", value=3), error])):
        assert mended(words.split(), one) == command


@pytest.mark.parametrize(
    ("name", "hint"), [("flp", "did you mean 'flip'? valid: flip, pgs"), ("zzz", "valid: flip, pgs")]
)
def test_the_nearest_name_is_offered_where_there_is_one(name: str, hint: str) -> None:
    assert nearest(name, ["pgs", "flip", "pgs"]) == hint


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://me:secret@host:5000/x", "http://me:***@host:5000/x"),
        (
            "at postgresql+psycopg://me:se:c@ret@host/name, too",
            "at postgresql+psycopg://me:***@host/name, too",
        ),
        ("http://:secret@host and http://a:secret@b", "http://:***@host and http://a:***@b"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
    ],
)
def test_passwords_are_not_shown(given: str, shown: str) -> None:
    assert without_password(given) == shown
    error = DataError("no answer from " + given, where=given, value=given, way_out=given)
    assert "secret" not in str(error)
