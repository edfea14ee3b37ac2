"""The client's half of fast results: an Executor that looks for them every 5 ms, the SDK's does every half second.

Only Executors made here do so; the SDK itself stays as it is. When it cannot be done: `mhfd.low_latency`. Importing
this imports the SDK.
"""

from __future__ import annotations

from typing import Any

from globus_compute_sdk import Executor

from mhfd.low_latency import PARAMETER, STOCK_S, ChangedError, Period, succeeds

SDK = Period(
    distribution="globus-compute-sdk",
    module="globus_compute_sdk.sdk.executor",
    owner="_ResultWatcher",
    short_s=0.005,
)


class PromptExecutor(Executor):
    """The SDK's Executor; the thread that listens for its results looks for them every few milliseconds."""

    def _get_result_watcher(self) -> Any:
        watcher = super()._get_result_watcher()
        if getattr(watcher, PARAMETER, None) == STOCK_S:  # it may have been told otherwise since
            setattr(watcher, PARAMETER, SDK.short_s)  # read anew each time
        return watcher


def executor_class(low_latency: bool = True) -> type[Executor]:
    """`PromptExecutor`, or the SDK's own: if low latency is not wanted or, with a warning, if it cannot be had."""
    return PromptExecutor if low_latency and succeeds(_check) else Executor


def _check() -> None:
    SDK.check()
    if not hasattr(Executor, PromptExecutor._get_result_watcher.__name__):
        raise ChangedError("the Executor gets its watcher in another way")
