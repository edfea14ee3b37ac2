"""The service's connection to the broker, restored after each loss, in the service's event loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pika  # type: ignore[import-untyped]
from pika.adapters.asyncio_connection import AsyncioConnection  # type: ignore[import-untyped]
from pika.channel import Channel  # type: ignore[import-untyped]

EXCHANGE = "compute"  # one direct exchange: the routing key is the queue's name
RECONNECT_S = 0.3
DECLARE_TIMEOUT_S = 5.0
GOOD_BYE_S = 2.0

Consumer = Callable[[bytes], None]


@dataclass(frozen=True)
class Message:
    """Bytes for a queue."""

    queue: str
    body: bytes
    headers: Mapping[str, str | list[str]] = field(default_factory=dict)
    timestamp: int | None = None
    expires_s: float | None = None  # after this the broker drops it
    due_s: float = 0.0  # not sent before, on the monotonic clock


class Connection:
    """Declares queues, consumes from some, publishes to all; after a loss it comes back with the same queues.

    A message is acknowledged when its consumer has returned, so one in hand when the connection breaks comes again.
    """

    def __init__(self, url: str, consumers: Mapping[str, Consumer]) -> None:
        self._parameters = pika.URLParameters(url)
        self._consumers = consumers
        self._queues = {queue: asyncio.get_running_loop().create_future() for queue in consumers}  # done: it is there
        self._channel: Channel | None = None
        self.up = asyncio.Event()

    async def run(self) -> None:
        """Connect, and again after each loss, until cancelled."""
        while True:
            lost = asyncio.get_running_loop().create_future()

            def lose(_connection: object, reason: object, lost: asyncio.Future[object] = lost) -> None:
                self.up.clear()
                self._channel = None
                if not lost.done():
                    lost.set_result(reason)

            connection = AsyncioConnection(
                self._parameters,
                on_open_callback=lambda opened: opened.channel(on_open_callback=self._opened),
                on_open_error_callback=lose,
                on_close_callback=lose,
            )
            try:
                await asyncio.shield(lost)
            finally:
                if connection.is_open:  # cancelled: say good-bye, which closes the socket
                    connection.close()
                    await asyncio.wait([lost], timeout=GOOD_BYE_S)
            await asyncio.sleep(RECONNECT_S)

    async def declare(self, queue: str) -> None:
        """Make sure of a durable queue; with the broker down, as soon as it is back."""
        if queue not in self._queues:
            self._queues[queue] = asyncio.get_running_loop().create_future()
            if self._channel is not None:
                self._declare(self._channel, queue, lambda _frame: self._settle(queue))
        if self._channel is not None:  # a broker dying just now does not answer, but all is declared on the next
            await asyncio.wait([self._queues[queue]], timeout=DECLARE_TIMEOUT_S)

    def publish(self, message: Message) -> bool:
        """Hand a message to the broker; False when it is not there."""
        if self._channel is None or not self._channel.is_open:
            return False
        properties = pika.BasicProperties(
            content_type="application/json",
            content_encoding="utf-8",
            headers=dict(message.headers),
            timestamp=message.timestamp,
            expiration=None if message.expires_s is None else str(round(1000 * message.expires_s)),
            delivery_mode=2,  # survives the broker's restart
        )
        self._channel.basic_publish(EXCHANGE, message.queue, message.body, properties)
        return True

    def purge(self, queue: str) -> None:
        if self._channel is not None:
            self._channel.queue_purge(queue)

    def _opened(self, channel: Channel) -> None:
        channel.add_on_close_callback(lambda closed, _reason: closed.connection.is_open and closed.connection.close())
        channel.exchange_declare(EXCHANGE, "direct", durable=True)
        for queue in self._queues:
            self._declare(channel, queue)
        for queue, consumer in self._consumers.items():
            channel.basic_consume(queue, self._acknowledging(consumer))

        def ready(_frame: object) -> None:
            self._channel = channel
            for queue in self._queues:
                self._settle(queue)
            self.up.set()

        # Last: its answer says that the broker has done all of the above, a line in which publishing does not wait.
        channel.basic_qos(prefetch_count=256, callback=ready)

    @staticmethod
    def _declare(channel: Channel, queue: str, then: Callable[[object], object] | None = None) -> None:
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, EXCHANGE, queue, callback=then)

    def _settle(self, queue: str) -> None:
        if not self._queues[queue].done():
            self._queues[queue].set_result(None)

    @staticmethod
    def _acknowledging(consumer: Consumer) -> Callable[..., None]:
        def on_message(channel: Channel, delivery: pika.spec.Basic.Deliver, _properties: object, body: bytes) -> None:
            consumer(body)
            channel.basic_ack(delivery.delivery_tag)

        return on_message


class Outbox:
    """Messages in order, each sent when it is due, not held back, and the broker is there."""

    def __init__(self, publish: Callable[[Message], bool], held: Callable[[], bool]) -> None:
        self._publish = publish
        self._held = held
        self._waiting: deque[Message] = deque()

    def post(self, message: Message) -> None:
        self._waiting.append(message)
        self.flush()

    def flush(self) -> None:
        """Send what can be sent; the service calls this again and again."""
        while self._waiting and not self._held() and self._waiting[0].due_s <= time.monotonic():
            if not self._publish(self._waiting[0]):
                return
            self._waiting.popleft()
