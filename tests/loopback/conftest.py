"""More fixtures for the tests of the equipment."""

from loopback.fixtures import transfer_service, transfer_session

__all__ = ["transfer_service", "transfer_session"]
