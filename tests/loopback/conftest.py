"""What the tests of the equipment use besides `loopback`."""

from loopback.fixtures import transfer_service, transfer_session

__all__ = ["transfer_service", "transfer_session"]
