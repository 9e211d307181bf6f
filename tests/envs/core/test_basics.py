"""Errors, extras and the certified optimum."""

import math
import pickle

import pytest

from edgewise.envs.core.errors import EdgewiseError, InvalidInputError, MissingExtraError
from edgewise.envs.core.extras import require
from edgewise.envs.core.optimum import Optimum


def test_invalid_input_names_field_and_range_and_pickles():
    error = InvalidInputError.of("wait", "a finite number in [0, 3] s", math.nan)
    assert str(error) == "wait must be a finite number in [0, 3] s, got nan"
    assert isinstance(error, ValueError)
    assert isinstance(error, EdgewiseError)
    assert error.exit_code == 2
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
    assert len(str(InvalidInputError.of("x", "short", "y" * 1000))) < 120


def test_require_returns_the_module_or_says_what_to_install():
    assert require("math", "none") is math
    for name in ("no_such_module_xyz", "no_such_module_xyz.inner"):
        with pytest.raises(MissingExtraError, match=r'pip install "edgewise\[sb3\]"') as caught:
            require(name, "sb3")
        assert isinstance(caught.value, ImportError)
        assert caught.value.name == "no_such_module_xyz"


def test_require_does_not_hide_a_broken_module(tmp_path, monkeypatch):
    (tmp_path / "broken_module_xyz.py").write_text("import no_such_dependency_xyz\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency_xyz") as caught:
        require("broken_module_xyz", "sb3")
    assert not isinstance(caught.value, MissingExtraError)


def test_optimum_constructors():
    exact = Optimum.exact(2.0, "closed form", 0.1, threshold=0.9)
    assert (exact.value, exact.bound, exact.gap) == (2.0, 2.0, 0.0)
    assert exact.details == {"threshold": 0.9}
    certified = Optimum.certified(2.0, 1.5, "linear programme with its dual", 0.0)
    assert certified.gap == 0.5
    assert Optimum.certified(2.0, 2.0 + 1e-13, "rounding", 0.0).gap == 0.0
    bound = Optimum.bound_only(1.5, "relaxation", 0.0)
    assert (bound.value, bound.gap) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((1.0, None, 0.0, "m", 0.0), "bound"),
        ((1.0, math.nan, 0.0, "m", 0.0), "bound"),
        ((1.0, -math.inf, 0.0, "m", 0.0), "bound"),
        ((1.0, 1.1, 0.0, "m", 0.0), "bound"),
        ((math.inf, 1.0, 0.0, "m", 0.0), "value"),
        ((2.0, 1.0, 0.5, "m", 0.0), "gap"),
        ((2.0, 1.0, None, "m", 0.0), "gap"),
        ((2.0, 1.0, math.nan, "m", 0.0), "gap"),
        ((None, 1.0, 0.5, "m", 0.0), "gap"),
        ((1.0, 1.0, 0.0, "", 0.0), "method"),
        ((1.0, 1.0, 0.0, "m", -1.0), "seconds"),
        ((1.0, 1.0, 0.0, "m", math.nan), "seconds"),
    ],
)
def test_optimum_refuses_uncertified_numbers(arguments, field):
    with pytest.raises(InvalidInputError, match=f"^{field} must be"):
        Optimum(*arguments)
