"""Both ways to run the hot loops."""

import importlib.util

import pytest

from mvs.codecs import ways


@pytest.fixture(params=["numpy", "compiled"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test by numpy, and again by the kernels where numba is installed."""
    fresh = ways._Ways()
    fresh._tried = True
    monkeypatch.setattr(ways, "_ways", fresh)
    if request.param == "compiled":
        if importlib.util.find_spec("numba") is None:
            pytest.skip("numba is not installed")
        fresh.load()
        if fresh.compiled is None:
            pytest.skip("numba has no place for what it compiles")
    return str(request.param)
