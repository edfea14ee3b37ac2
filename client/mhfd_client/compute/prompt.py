"""The client's half of low latency: an Executor that looks for results every 5 ms, not every 500 ms as the SDK's.

Only Executors made here do so; the SDK itself is unchanged. `mhfd.low_latency` says when this is refused. Importing
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
        if getattr(watcher, PARAMETER, None) == STOCK_S:  # else somebody has set it
            setattr(watcher, PARAMETER, SDK.short_s)  # read each time round
        return watcher


def executor_class(low_latency: bool = True) -> type[Executor]:
    """`PromptExecutor`, or the SDK's own if low latency is not wanted or, with a warning, is refused."""
    return PromptExecutor if low_latency and succeeds(_check) else Executor


def _check() -> None:
    SDK.check()
    if not hasattr(Executor, PromptExecutor._get_result_watcher.__name__):
        raise ChangedError("the Executor gets its watcher in another way")
