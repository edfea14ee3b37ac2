"""Make the endpoint send results as soon as they are ready; the client's half is `mhfd_client.compute.prompt`.

Globus Compute polls for finished results twice a second: on the endpoint before it sends them, in the client before it
hands them out. Neither period is a setting, but each is the default of a constructor's parameter and an attribute of
the object, so both can be shortened without changing code. This is done only if the class has the shape it had when
this was written (4.19), whatever the version; otherwise a warning is logged, and the stock period remains.

An endpoint takes part when its user endpoint's configuration names `mhfd.low_latency.JSONData` among the
``allowed_serializers`` (endpoint_configs/*/user_config_template.yaml.j2). That is the SDK's own `JSONData`, imported by
this path as the endpoint imports all serializers; looking it up here shortens the period, in that process only.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

log = logging.getLogger(__name__)

STOCK_S = 0.5
PARAMETER = "poll_period_s"
LOOKS = "_event_watcher"


class ChangedError(Exception):
    """The installed package has another shape."""


@dataclass(frozen=True)
class Period:
    """Polling period of a class of the Globus packages: the default of its parameter `poll_period_s`.

    Attributes
    ----------
    distribution, module, owner : where the class is; the first is named when it is not
    short_s : in place of half a second
    """

    distribution: str
    module: str
    owner: str
    short_s: float

    def check(self) -> None:
        """Check that the class has the shape that is relied on.

        Raises
        ------
        ChangedError
            It is not. Other errors, of a missing or changed package, pass through.
        """
        installed = f"{self.distribution} {metadata.version(self.distribution)}"
        owner = self._owner()
        if (default := _default(owner.__init__)) not in (STOCK_S, self.short_s):
            raise ChangedError(f"in {installed} {self.owner}'s {PARAMETER} is {default}, no longer {STOCK_S}")
        for function in (owner.__init__, getattr(owner, LOOKS)):
            if PARAMETER not in function.__code__.co_names:
                raise ChangedError(f"in {installed} {self.owner}.{function.__name__} does not use self.{PARAMETER}")

    def shorten(self) -> bool:
        """Set the period to `short_s` for later objects; False, with a warning, if that fails."""

        def attempt() -> None:
            self.check()
            _set_default(self._owner().__init__, self.short_s)

        return succeeds(attempt)

    def restore(self) -> None:
        """Undo `shorten`."""
        if _default(self._owner().__init__) == self.short_s:
            _set_default(self._owner().__init__, STOCK_S)

    def _owner(self) -> Any:
        return getattr(import_module(self.module), self.owner)


def succeeds(attempt: Callable[[], None]) -> bool:
    """True, or False and a warning if `attempt` raises."""
    try:
        attempt()
    except Exception as error:  # whatever a changed package raises: late results are better than none
        reason = str(error) if isinstance(error, ChangedError) else f"{type(error).__name__}: {error}"
        log.warning("stock latency: results take up to half a second longer than necessary, because %s", reason)
        return False
    return True


ENDPOINT = Period(
    distribution="globus-compute-endpoint",
    module="globus_compute_endpoint.endpoint.rabbit_mq.result_publisher",
    owner="ResultPublisher",
    short_s=0.01,  # the least it accepts
)


def __getattr__(name: str) -> Any:
    """`JSONData` for the endpoint's configuration (see above)."""
    if name != "JSONData":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    ENDPOINT.shorten()
    return import_module("globus_compute_sdk.serialize").JSONData


def _default(constructor: Any) -> object:
    parameter = inspect.signature(constructor).parameters.get(PARAMETER)
    return parameter.default if parameter else None


def _set_default(constructor: Any, period_s: float) -> None:
    if PARAMETER in (constructor.__kwdefaults__ or {}):
        constructor.__kwdefaults__[PARAMETER] = period_s
        return
    positional = [
        name
        for name, parameter in inspect.signature(constructor).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is not parameter.empty
    ]
    defaults = dict(zip(positional, constructor.__defaults__, strict=True))
    constructor.__defaults__ = tuple((defaults | {PARAMETER: period_s}).values())
