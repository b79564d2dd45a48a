"""The token channel over real sockets on loopback: complete or failed, bounded, and nothing kept."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable

import pytest

from deployments import channel
from deployments.channel import Address, ChannelError, Inbox, Outboxes, StreamOverflow, Subscription

LIMIT = 1 << 20


@pytest.fixture
async def outboxes() -> AsyncIterator[Outboxes]:
    boxes = Outboxes()
    yield boxes
    boxes.close()


@pytest.fixture
def unknown() -> list[int]:
    return []


@pytest.fixture(params=["127.0.0.1", "::1"])
async def inbox(request: pytest.FixtureRequest, unknown: list[int]) -> AsyncIterator[Inbox]:
    box = Inbox(request.param, unknown.append)
    yield box
    box.close()


async def drain(stream: Subscription) -> list[bytes]:
    chunks = []
    while (chunk := await stream.read()) is not None:
        chunks.append(chunk)
    return chunks


async def until(holds: Callable[[], bool], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - what is polled here tells nobody when it changes
            await asyncio.sleep(0.005)


async def test_frames_arrive_in_order_and_the_count_ends_the_stream(inbox: Inbox, outboxes: Outboxes) -> None:
    with inbox.open(LIMIT) as stream, outboxes.open(stream.address) as writer:
        for number in range(100):
            writer.write(b"%d;" % number)
            if number % 7 == 0:
                await asyncio.sleep(0)
        stream.expect(writer.sent)
        assert b"".join(await drain(stream)) == b"".join(b"%d;" % number for number in range(100))


async def test_streams_of_one_turn_leave_as_one_message(
    inbox: Inbox, outboxes: Outboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[bytes] = []
    dispatch = inbox._dispatch

    def counted(message: bytes) -> None:
        messages.append(message)
        dispatch(message)

    monkeypatch.setattr(inbox, "_dispatch", counted)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(inbox.open(LIMIT)) for _ in range(32)]
        writers = [stack.enter_context(outboxes.open(stream.address)) for stream in streams]
        for writer in writers:
            writer.write(b"token")
        assert [await stream.read() for stream in streams] == [b"token"] * 32
    assert len(messages) == 1


async def test_frames_that_wait_together_are_read_as_one(inbox: Inbox, outboxes: Outboxes) -> None:
    with inbox.open(LIMIT) as stream, outboxes.open(stream.address) as writer:
        for _ in range(3):
            writer.write(b"a")
        await until(lambda: stream._received == 3)
        assert await stream.read() == b"aaa"


async def test_count_that_comes_before_the_frames_waits_for_them(inbox: Inbox, outboxes: Outboxes) -> None:
    with inbox.open(LIMIT) as stream, outboxes.open(stream.address) as writer:
        stream.expect(1)
        reading = asyncio.create_task(drain(stream))
        await asyncio.sleep(0.02)
        assert not reading.done()
        writer.write(b"last")
        assert await reading == [b"last"]


async def test_frame_that_never_comes_fails_the_stream(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_TAIL_BOUND_S", 0.05)
    with inbox.open(LIMIT) as stream:
        stream.expect(2)
        with pytest.raises(ChannelError, match="0 of 2 frames"):
            await stream.read()


async def test_gap_fails_the_stream_and_drops_what_waits(inbox: Inbox) -> None:
    with inbox.open(LIMIT) as stream:
        stream.accept(0, b"first")
        stream.accept(2, b"third")
        with pytest.raises(ChannelError, match="frame 2 arrived where 1 was due"):
            await stream.read()


async def test_slow_client_holds_no_more_than_its_limit(inbox: Inbox, outboxes: Outboxes) -> None:
    with inbox.open(1000) as stream, outboxes.open(stream.address) as writer:
        for _ in range(30):
            writer.write(b"x" * 100)
        await until(lambda: stream._error is not None)
        with pytest.raises(StreamOverflow):
            await stream.read()
        assert not stream._waiting


async def test_records_with_an_unknown_key_are_dropped_and_counted(
    inbox: Inbox, outboxes: Outboxes, unknown: list[int]
) -> None:
    with inbox.open(LIMIT) as stream:
        address = stream.address
        stranger = Address(address.endpoint, address.server_key, secrets.token_bytes(16))
        with outboxes.open(stranger) as writer:
            writer.write(b"secret")
            await until(lambda: sum(unknown) == 1)
        assert not stream._waiting


async def test_finished_streams_leave_nothing_behind(
    inbox: Inbox, outboxes: Outboxes, unknown: list[int]
) -> None:
    for _ in range(200):
        with inbox.open(LIMIT) as stream, outboxes.open(stream.address) as writer:
            writer.write(b"x")
            stream.expect(1)
            assert await drain(stream) == [b"x"]
    assert not inbox._streams
    assert len(outboxes._outboxes) == 1
    assert unknown == []


async def test_ingress_that_goes_away_fails_the_writers_and_its_socket_is_forgotten(
    outboxes: Outboxes,
) -> None:
    gone = Inbox("127.0.0.1")
    with gone.open(LIMIT) as stream, outboxes.open(stream.address) as writer:
        writer.write(b"x")
        assert await stream.read() == b"x"
        gone.close()
        await until(lambda: outboxes._outboxes[stream.address.endpoint].lost)
        with pytest.raises(ChannelError, match="lost"):
            writer.write(b"y")
    assert not outboxes._outboxes


async def test_ingress_that_restarts_is_reached_again(outboxes: Outboxes) -> None:
    for _ in range(2):
        box = Inbox("127.0.0.1")
        with box.open(LIMIT) as stream, outboxes.open(stream.address) as writer:
            writer.write(b"x")
            assert await stream.read() == b"x"
        box.close()


async def test_ingress_that_does_not_read_bounds_what_waits_for_it(inbox: Inbox) -> None:
    boxes = Outboxes(limit_bytes=10_000)
    # Nobody listens there, so that nothing leaves.
    nowhere = Address("tcp://127.0.0.1:9", b"x" * 40, secrets.token_bytes(16))
    with inbox.open(LIMIT) as stream:
        address = Address(nowhere.endpoint, stream.address.server_key, nowhere.request_key)

        async def write_on() -> None:
            for _ in range(100_000):
                writer.write(b"x" * 1000)
                await asyncio.sleep(0)

        with boxes.open(address) as writer, pytest.raises(StreamOverflow):
            await write_on()
    boxes.close()


async def test_stranger_without_the_public_key_delivers_nothing(
    inbox: Inbox, outboxes: Outboxes, unknown: list[int]
) -> None:
    import zmq

    other, _ = zmq.curve_keypair()
    with inbox.open(LIMIT) as stream:
        forged = Address(stream.address.endpoint, other, stream.address.request_key)
        with outboxes.open(forged) as writer:
            writer.write(b"forged")
            await asyncio.sleep(0.2)
        assert stream._received == 0
        assert unknown == []


async def test_connection_over_which_nothing_is_sent_costs_no_time(inbox: Inbox, outboxes: Outboxes) -> None:
    """As that of a replica whose calls are answered without streams."""
    with inbox.open(LIMIT) as stream, outboxes.open(stream.address):
        begun, used = time.monotonic(), time.thread_time()
        await asyncio.sleep(0.5)  # while it connects, and for a while after
        assert time.thread_time() - used < 0.2 * (time.monotonic() - begun)
