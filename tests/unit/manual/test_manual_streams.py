"""Streams: begun, under way, completed, failed, left; waiting, bandwidth and bytes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry.trace import StatusCode, get_current_span

import spanwise
from spanwise import names
from spanwise.manual import streaming

MP3 = ((names.STREAM_FORMAT, "mp3"), (names.STREAM_QUALITY, "high"))


def value(observed: Any, metric: names.Metric, of: Any = ()) -> Any:
    return observed.points()[metric.name][of]


def test_a_stream_from_its_start_to_its_end(observed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 10.5])
    monkeypatch.setattr(streaming, "perf_counter", lambda: next(clock))
    with spanwise.stream("track-17", format="mp3", quality="high") as playing:
        assert value(observed, names.STREAM_ACTIVE) == 1
        assert get_current_span() is not playing.span, "it would be current for who asks for the next piece"
        playing.sent(1000)
        with playing.buffering():
            playing.sent(500)
        playing.buffered(0.25)
    span = observed.span()
    assert span.attributes[names.STREAM_ID] == "track-17"
    assert span.attributes[names.STREAM_OUTCOME] == "completed"
    assert span.attributes[names.STREAM_BYTES.name] == 1500
    seconds = (span.end_time - span.start_time) / 1e9
    points = observed.points()
    assert points[names.STREAM_ACTIVE.name] == {(): 0}
    assert points[names.STREAM_STARTED.name] == {MP3: 1}
    assert points[names.STREAM_COMPLETED.name] == {MP3: 1}
    assert points[names.STREAM_ERRORS.name] == {MP3: 0}
    assert points[names.STREAM_DURATION.name] == {MP3: (1, seconds)}
    assert points[names.STREAM_BUFFER_TIME.name] == {MP3: (1, 0.75)}
    assert points[names.STREAM_BYTES.name] == {MP3: 1500}
    assert points[names.STREAM_BANDWIDTH.name] == {MP3: (1, 1500 / seconds)}
    assert points[names.STREAM_BUFFER_RATIO.name] == {MP3: (1, 1.0)}, "more than the whole"
    assert "track-17" not in str(points)


def test_the_ratio_is_a_share_of_the_duration(observed: Any) -> None:
    observed.parts.streams.end(object(), "completed", 10.0, 2.5, 0, {})
    assert value(observed, names.STREAM_BUFFER_RATIO) == (1, 0.25)


def test_a_failure_is_an_error_and_passes(observed: Any) -> None:
    with pytest.raises(OSError, match="broken"), spanwise.stream("a"):
        raise OSError("broken")
    assert value(observed, names.STREAM_ERRORS) == 1
    assert value(observed, names.STREAM_COMPLETED) == 0
    span = observed.span()
    assert (span.status.status_code, span.attributes[names.STREAM_OUTCOME]) == (StatusCode.ERROR, "error")


def test_a_receiver_that_goes_away_is_neither(observed: Any) -> None:
    def pieces() -> Iterator[bytes]:
        with spanwise.stream("a") as playing:
            for piece in (b"ab", b"cd"):
                playing.sent(len(piece))
                yield piece

    left = pieces()
    next(left)
    left.close()
    spanwise.stream("b").start().close()
    assert len(observed._exporter.get_finished_spans()) == 2, "close() ends it there and then"
    ended = spanwise.stream("c").start()
    ended.stop()
    ended.close()
    outcomes = [span.attributes[names.STREAM_OUTCOME] for span in observed.spans()]
    assert outcomes == ["left", "left", "completed"]
    assert value(observed, names.STREAM_ERRORS) == 0
    assert value(observed, names.STREAM_COMPLETED) == 1
    assert value(observed, names.STREAM_ACTIVE) == 0


def test_a_receiver_whose_task_is_cancelled_is_neither(observed: Any) -> None:
    """What a server does when the receiver goes away."""

    @spanwise.stream("a")
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.Event().wait()

    async def send() -> None:
        async for _ in pieces():
            pass

    async def main() -> None:
        task = asyncio.ensure_future(send())
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    span = observed.span()
    assert (span.status.status_code, span.attributes[names.STREAM_OUTCOME]) == (StatusCode.UNSET, "left")
    assert value(observed, names.STREAM_ERRORS) == 0
    assert value(observed, names.STREAM_COMPLETED) == 0


def test_a_decorated_generator_s_pieces_are_counted(observed: Any) -> None:
    @spanwise.stream(id_from=lambda track: track)
    def pieces(_: int) -> Iterator[bytes]:
        assert get_current_span().is_recording()
        yield b"abc"
        yield b"de"

    @spanwise.stream("b")
    async def apieces() -> AsyncIterator[bytes]:
        yield b"fghij"

    async def main() -> list[bytes]:
        return [piece async for piece in apieces()]

    assert b"".join(pieces(17)) == b"abcde"
    assert asyncio.run(main()) == [b"fghij"]
    assert [span.attributes[names.STREAM_ID] for span in observed.spans()] == ["17", "b"]
    assert value(observed, names.STREAM_BYTES) == 10


def test_one_that_is_dropped_is_no_longer_under_way(observed: Any) -> None:
    playing = spanwise.stream("a").start()
    assert value(observed, names.STREAM_ACTIVE) == 1
    del playing
    gc.collect()
    assert value(observed, names.STREAM_ACTIVE) == 0
    assert observed.span().status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("seconds", [-1, float("nan"), "1", None])
def test_waiting_that_is_no_time_is_told(
    observed: Any, caplog: pytest.LogCaptureFixture, seconds: Any
) -> None:
    with spanwise.stream("a") as playing:
        playing.buffered(seconds)
        playing.sent(-1)
    assert f"it is {seconds!r}: give seconds" in caplog.text
    assert "a stream's size is a number of bytes, not -1" in caplog.text
    assert value(observed, names.STREAM_BUFFER_TIME) == (1, 0.0)
