"""The two stacks, native and Docker, each started once for all tests."""

from collections.abc import Iterator

import pytest

from tests.docker import require_docker
from tests.stack.stacks import WAYS, DockerStack, NativeStack, Stack


@pytest.fixture(scope="package", params=WAYS)
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole stack, the native one and then the one in Docker."""
    if request.param == "docker":
        require_docker()
    with NativeStack(tmp_path_factory.mktemp("stack")) if request.param == "native" else DockerStack() as running:
        yield running


@pytest.fixture
def docker_stack(stack: Stack) -> DockerStack:
    """The stack in Docker, for tests of what exists only there."""
    if not isinstance(stack, DockerStack):
        pytest.skip("only with Docker")
    return stack


@pytest.fixture
def native_stack(stack: Stack) -> NativeStack:
    """The native stack, for tests of what exists only there."""
    if not isinstance(stack, NativeStack):
        pytest.skip("only without Docker")
    return stack
