"""The overlays, rendered once."""

import copy
from functools import cache

import pytest

from tests.kubernetes.manifests import KUBERNETES, Object, kubectl, render

OVERLAYS = ("small", "production", "managed", "operator", "large", "load")


@cache
def rendered(overlay: str) -> list[Object]:
    if kubectl() is None:
        pytest.skip("neither kubectl nor kustomize is here to render: lab/stack/kubectl.sh brings one")
    # the overlay `load` needs a running stack, and is not one itself
    below = rendered("small") if overlay == "load" else []
    return below + render(KUBERNETES / "overlays" / overlay)


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> list[Object]:
    """Every overlay in turn, as a copy that the test may change."""
    return copy.deepcopy(rendered(request.param))


@pytest.fixture(params=["small", "production"])
def like_compose(request: pytest.FixtureRequest) -> list[Object]:
    """The overlays that correspond to compose.yaml."""
    return copy.deepcopy(rendered(request.param))


@pytest.fixture
def small() -> list[Object]:
    return copy.deepcopy(rendered("small"))
