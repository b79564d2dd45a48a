"""The token channel: frames of all streams of one ingress, in one message per engine step.

The request goes to a replica as one unary call that stays open until generation ends; its frames come back
here. An ingress replica owns one receiving socket (``Inbox``), a model replica one sending socket for each
ingress (``Outbox``). What a replica's streams write within one turn of its event loop, which is what one
step of the engine yields, leaves as one ZeroMQ message. Connections are encrypted and the ingress proves
itself by CURVE; its public key and an unguessable key of the request travel with the unary call.

Complete or failed, never silently short: frames are numbered, and the unary call's result says how many
there were. The call of a client that has gone has no result: one last record tells what it has used.

A message is a row of records ``key[16] number[u32] length[u32] frame``, little-endian.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from deployments.call import Frame, Usage

KEY_BYTES = 16
_RECORD = struct.Struct(f"<{KEY_BYTES}sII")
_SETTLEMENT = 2**32 - 1
"""The number of the record that tells the usage of a call cut short."""
_USAGE = struct.Struct("<II")
_TAIL_BOUND_S = 5.0
"""How long the last frames may take after the unary call has said how many there are."""


class ChannelError(Exception):
    """A stream cannot be completed: a gap, a lost connection, or a client that reads too slowly."""


class StreamOverflow(ChannelError):
    """The client reads so slowly that the stream's buffer is full."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a replica sends one request's frames; travels with the unary call.

    Attributes:
        endpoint: ZeroMQ address of the ingress, ``tcp://host:port``.
        server_key: The ingress's public CURVE key, Z85.
        request_key: 128 random bits that name the request.
    """

    endpoint: str
    server_key: bytes
    request_key: bytes


class Subscription:
    """One stream's frames as they arrive at the ingress.

    Args:
        address: Where the replica sends them.
        limit_bytes: Bytes that may wait for a slow client.
    """

    def __init__(self, address: Address, limit_bytes: int) -> None:
        self.address = address
        self._limit_bytes = limit_bytes
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._received = 0
        self._expected: int | None = None
        self._error: BaseException | None = None
        self._changed = asyncio.Event()
        self._settled: asyncio.Future[Usage] = asyncio.get_running_loop().create_future()

    @property
    def received(self) -> int:
        """Frames that have arrived."""
        return self._received

    @property
    def settled(self) -> asyncio.Future[Usage]:
        """What a call cut short has used, once the replica tells."""
        return self._settled

    def accept(self, number: int, frame: bytes) -> None:
        """Take a frame off the wire."""
        if number == _SETTLEMENT:
            if not self._settled.done():
                self._settled.set_result(Usage(*_USAGE.unpack(frame)))
            return
        if self._error is not None:
            return
        if number != self._received:
            self.fail(ChannelError(f"frame {number} arrived where {self._received} was due"))
            return
        self._received += 1
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > self._limit_bytes:
            self.fail(StreamOverflow(f"more than {self._limit_bytes} bytes wait for the client"))
        self._changed.set()

    def expect(self, frames: int) -> None:
        """The replica has sent so many frames, and no more will come."""
        self._expected = frames
        self._changed.set()

    def fail(self, error: BaseException) -> None:
        """The stream cannot be completed; what waits is dropped, so that it is not taken for an answer."""
        if self._error is None:
            self._error = error
            self._waiting.clear()
            self._changed.set()

    async def read(self) -> bytes | None:
        """All frames that wait, as one; None at the end.

        Raises:
            ChannelError: The stream cannot be completed.
        """
        while True:
            if self._error is not None:
                raise self._error
            if self._waiting:
                chunk = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = 0
                return chunk
            if self._expected is not None and self._received >= self._expected:
                return None
            self._changed.clear()
            # Frames may still be on their way when the unary call has already ended.
            bound_s = None if self._expected is None else _TAIL_BOUND_S
            try:
                async with asyncio.timeout(bound_s):
                    await self._changed.wait()
            except TimeoutError:
                self.fail(ChannelError(f"{self._received} of {self._expected} frames arrived"))


class Inbox:
    """The receiving socket of an ingress replica. Lives in one event loop.

    Args:
        host: The node's own address, IPv4 or IPv6; never all of them.
        on_unknown: Called with the number of records that name no open stream.
    """

    def __init__(self, host: str, on_unknown: Callable[[int], None] = lambda _: None) -> None:
        public, secret = zmq.curve_keypair()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.curve_server = True
        self._socket.curve_secretkey = secret
        self._socket.curve_publickey = public
        if ":" in host:
            self._socket.setsockopt(zmq.IPV6, 1)
            host = f"[{host}]"
        port = self._socket.bind_to_random_port(f"tcp://{host}")
        self._endpoint = f"tcp://{host}:{port}"
        self._public = public
        self._streams: dict[bytes, Subscription] = {}
        self._on_unknown = on_unknown
        self._loop = asyncio.get_running_loop()
        self._descriptor = int(self._socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self._receive)
        self._receive()

    @contextmanager
    def open(self, limit_bytes: int) -> Iterator[Subscription]:
        """A stream of one request; forgotten when the block ends."""
        key = secrets.token_bytes(KEY_BYTES)
        stream = Subscription(Address(self._endpoint, self._public, key), limit_bytes)
        self._streams[key] = stream
        try:
            yield stream
        finally:
            del self._streams[key]

    def close(self) -> None:
        """Close the socket; open streams fail."""
        self._loop.remove_reader(self._descriptor)
        for stream in self._streams.values():
            stream.fail(ChannelError("the ingress is closing"))
        self._socket.close()
        self._context.term()

    def _receive(self) -> None:
        if self._socket.closed:
            return
        while True:
            try:
                self._dispatch(self._socket.recv(zmq.NOBLOCK))
            except zmq.Again:
                return

    def _dispatch(self, message: bytes) -> None:
        start, end, unknown = 0, len(message), 0
        while start + _RECORD.size <= end:
            key, number, length = _RECORD.unpack_from(message, start)
            start += _RECORD.size
            stream = self._streams.get(key)
            if stream is None:
                unknown += 1
            else:
                stream.accept(number, message[start : start + length])
            start += length
        if unknown:
            self._on_unknown(unknown)


class Writer:
    """One request's way out of a replica.

    Attributes:
        sent: Frames written so far.
    """

    def __init__(self, outbox: Outbox, key: bytes) -> None:
        self.sent = 0
        self._outbox = outbox
        self._key = key

    def write(self, frame: Frame) -> None:
        """Send a frame with what other requests write in the same turn of the event loop.

        Raises:
            ChannelError: The ingress is gone or does not read.
        """
        self._outbox.put(self._key, self.sent, frame)
        self.sent += 1

    def settle(self, usage: Usage) -> None:
        """Tell what a call cut short has used; nobody is told where the connection is lost."""
        with suppress(ChannelError):
            record = _USAGE.pack(usage.prompt_tokens, usage.completion_tokens)
            self._outbox.put(self._key, _SETTLEMENT, record)


class Outbox:
    """The sending socket of a replica to one ingress. Lives in one event loop.

    Args:
        context: Of the replica.
        address: Any address of that ingress.
        limit_bytes: Bytes that may wait for an ingress that does not read.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: Address, limit_bytes: int) -> None:
        self._socket = context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, 0)
        public, secret = zmq.curve_keypair()
        self._socket.curve_serverkey = address.server_key
        self._socket.curve_publickey = public
        self._socket.curve_secretkey = secret
        if "[" in address.endpoint:
            self._socket.setsockopt(zmq.IPV6, 1)
        self._limit_bytes = limit_bytes
        self._records: list[bytes] = []
        self._bytes = 0
        self._scheduled = False
        self._lost = False
        self.writers = 0
        self._loop = asyncio.get_running_loop()
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._monitored = int(self._monitor.getsockopt(zmq.FD))
        self._loop.add_reader(self._monitored, self._watch)
        # ZeroMQ wakes a descriptor only after somebody has looked and found nothing.
        self._watch()
        self._descriptor = int(self._socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self._ready)
        self._socket.connect(address.endpoint)

    @property
    def lost(self) -> bool:
        """Whether the connection broke; frames on it may be lost, and it is not used again."""
        return self._lost

    def put(self, key: bytes, number: int, frame: Frame) -> None:
        """Queue a record. See ``Writer.write``."""
        if self._lost:
            raise ChannelError("the connection to the ingress is lost")
        if self._bytes > self._limit_bytes:
            raise StreamOverflow(f"more than {self._limit_bytes} bytes wait for the ingress")
        self._records += (_RECORD.pack(key, number, len(frame)), frame)
        self._bytes += len(frame)
        if not self._scheduled:
            self._scheduled = True
            # Runs after every task that this turn has made ready, so after all frames of the engine's step.
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Close the socket. What was written goes out first, if the connection takes it now."""
        self._flush()
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_reader(self._monitored)
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    def _ready(self) -> None:
        # Whatever has woken the descriptor, such as a connection that was made: it stays awake, and the event
        # loop with it, until somebody looks.
        self._socket.getsockopt(zmq.EVENTS)
        self._flush()

    def _flush(self) -> None:
        self._scheduled = False
        if not self._records or self._socket.closed:
            return
        try:
            self._socket.send(b"".join(self._records), zmq.NOBLOCK)
        except zmq.Again:
            return  # The descriptor tells when there is room again.
        self._records.clear()
        self._bytes = 0

    def _watch(self) -> None:
        while int(self._monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            recv_monitor_message(self._monitor, zmq.NOBLOCK)
            self._lost = True


class Outboxes:
    """The sending sockets of a replica, one for each ingress that has sent it a request.

    Args:
        limit_bytes: Bytes that may wait for an ingress that does not read.
    """

    def __init__(self, limit_bytes: int = 64 * 2**20) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._limit_bytes = limit_bytes
        self._outboxes: dict[str, Outbox] = {}

    @contextmanager
    def open(self, address: Address) -> Iterator[Writer]:
        """The way of one request's frames to its ingress."""
        outbox = self._outboxes.get(address.endpoint)
        if outbox is None or outbox.lost:
            outbox = Outbox(self._context, address, self._limit_bytes)
            self._outboxes[address.endpoint] = outbox
        outbox.writers += 1
        try:
            yield Writer(outbox, address.request_key)
        finally:
            outbox.writers -= 1
            if outbox.lost and not outbox.writers:
                self._forget(outbox)

    def close(self) -> None:
        """Close all sockets."""
        for outbox in self._outboxes.values():
            outbox.close()
        self._outboxes.clear()
        self._context.term()

    def _forget(self, outbox: Outbox) -> None:
        outbox.close()
        self._outboxes = {e: o for e, o in self._outboxes.items() if o is not outbox}
