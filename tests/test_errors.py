"""Errors: one tree, one kind and one exit code a class."""

import pickle
import re

import pytest

from mvs import errors
from mvs.errors import InvalidMetadata, InvalidTag, MvsError, NotFound

CLASSES = [found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, MvsError)]


def _drawn() -> dict[str, tuple[str | None, int]]:
    """Return parent and exit code of every class as the docstring of the module draws them."""
    tree: dict[str, tuple[str | None, int]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"( {4}[│├└─ ]*)([A-Z]\w+) +(\d+)\b", line)
        if match is None:
            continue
        indent, name, code = len(match[1]), match[2], int(match[3])
        while above and above[-1][0] >= indent:
            above.pop()
        tree[name] = (above[-1][1] if above else None, code)
        above.append((indent, name))
    return tree


def test_the_tree_is_drawn_as_it_is() -> None:
    """Scripts are written by that page."""
    real = {
        error.__name__: (error.__base__.__name__ if error is not MvsError and error.__base__ else None, error.exit_code)
        for error in CLASSES
    }
    assert _drawn() == real


def test_every_kind_and_every_exit_code_is_one_class() -> None:
    """A program that handles one error must not catch another with it."""
    assert len({error.kind for error in CLASSES}) == len(CLASSES)
    assert len({error.exit_code for error in CLASSES}) == len(CLASSES)


def test_kinds_are_the_names_of_the_classes() -> None:
    spelled = {error.__name__: "-".join(re.findall("[A-Z][a-z]*", error.__name__)).lower() for error in CLASSES}
    spelled["MvsError"] = "error"
    spelled["NotARepository"] = "not-a-repository"
    assert {error.__name__: error.kind for error in CLASSES} == spelled


def test_exit_codes_leave_those_of_the_shell_alone() -> None:
    """2 is wrong usage, 70 an internal error, 126 and above the shell's."""
    assert {error.exit_code for error in CLASSES} <= set(range(1, 126)) - {2, 70}


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_says_its_message_and_hint(error: type[MvsError]) -> None:
    """A KeyError says the repr of its message unless it is kept from it."""
    raised = error("no version 'bert:v3'", hint="mvs list bert")
    assert str(raised) == "no version 'bert:v3'"
    assert raised.hint == "mvs list bert"
    assert raised.kept is None


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_survives_the_way_between_processes(error: type[MvsError]) -> None:
    """A pool of workers that save would report its own failure instead."""
    raised = error("no version 'bert:v3'", hint="mvs list bert")
    back = pickle.loads(pickle.dumps(raised))
    assert type(back) is error
    assert (str(back), back.hint) == (str(raised), raised.hint)


def test_errors_are_caught_by_their_customary_names() -> None:
    assert issubclass(NotFound, KeyError)
    assert issubclass(InvalidTag, ValueError)
    assert issubclass(InvalidMetadata, ValueError)
