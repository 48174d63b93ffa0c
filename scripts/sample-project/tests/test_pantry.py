"""Tests of the pantry."""

import pytest

from pantry import Pantry


@pytest.fixture
def pantry() -> Pantry:
    filled = Pantry()
    filled.add("egg", 6)
    filled.add("flour")
    return filled


@pytest.mark.parametrize(
    ("recipe", "missing"),
    [
        ({"egg": 2}, {}),
        ({"egg": 8, "flour": 1}, {"egg": 2}),
        ({"milk": 1, "egg": 6}, {"milk": 1}),
    ],
)
def test_a_recipe_names_what_is_missing(pantry, recipe, missing):
    assert pantry.missing(recipe) == missing


def test_what_was_taken_is_gone(pantry):
    pantry.take("egg", 5)
    assert pantry.missing({"egg": 2}) == {"egg": 1}


def test_more_than_there_is_cannot_be_taken(pantry):
    with pytest.raises(LookupError, match="1 of flour left, 2 wanted"):
        pantry.take("flour", 2)
    assert pantry.missing({"flour": 1}) == {}


def test_nothing_cannot_be_added(pantry):
    with pytest.raises(ValueError, match="cannot add 0 of egg"):
        pantry.add("egg", 0)
