"""The loopback, for tests that run on this machine's processes and on the real stack alike."""

from loopback.fixtures import (
    loopback,
    loopback_session,
    pytest_collection_modifyitems,
    pytest_runtest_makereport,
)

__all__ = ["loopback", "loopback_session", "pytest_collection_modifyitems", "pytest_runtest_makereport"]
