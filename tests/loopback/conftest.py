"""More fixtures for the tests of the equipment."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from loopback import archive_functions
from loopback.fixtures import transfer_service, transfer_session

if TYPE_CHECKING:
    from loopback.stack import Loopback

__all__ = ["functions", "transfer_service", "transfer_session"]


@pytest.fixture(scope="module")
def functions(loopback_session: Loopback) -> dict[str, str]:
    """The stand-ins, registered once."""
    return {
        name: loopback_session.service.cloud.register_function(
            {"function_name": name, "function_code": inspect.getsource(function), "serialized": False}
        )
        for name, function in vars(archive_functions).items()
        if inspect.isfunction(function)
    }
