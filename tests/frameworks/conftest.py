"""What each framework's suite begins with."""

import gc
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.deployment import MAKERS, PLACES, Deployment, Place

Deploy = Callable[..., Any]


@pytest.fixture(params=sorted(MAKERS))
def framework(request: pytest.FixtureRequest) -> str:
    """Each framework."""
    return str(request.param)


@pytest.fixture
async def deploy(tmp_path: Path, framework: str) -> AsyncIterator[Deploy]:
    """Makes a deployment of the framework's app, which is closed when the test is over."""
    async with AsyncExitStack() as stack:

        async def made(place: Place = PLACES["whole"], **how: Any) -> Deployment:
            deployment = Deployment(tmp_path, framework, place, **how)
            stack.push_async_callback(deployment.guarded.close)
            await deployment.enrol()
            return deployment

        yield made
    if framework == "django":
        # It leaves its copy of the body open where a call broke off: found here, and not in some later test.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture
async def deployment(deploy: Deploy) -> Deployment:
    """The guard around the whole app."""
    made: Deployment = await deploy()
    return made
