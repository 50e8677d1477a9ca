from __future__ import annotations

import pytest

from agents.node.runtimes.frames import STDERR, STDOUT, Demultiplexer, LogLines, joined, unix_time


def frame(stream: int, data: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


def stamp(nanoseconds: int, minute: int = 0) -> bytes:
    return f"2026-01-02T03:{minute:02}:05.{nanoseconds:09}Z ".encode()


@pytest.mark.parametrize("size", [1, 3, 8, 9, 1000])
def test_frames_come_whole_however_the_bytes_are_cut(size: int) -> None:
    frames = [(STDOUT, b"one"), (STDERR, b""), (STDERR, b"x" * 300), (STDOUT, b"two")]
    raw = b"".join(frame(*each) for each in frames)
    demultiplexer = Demultiplexer()
    pieces = [raw[i : i + size] for i in range(0, len(raw), size)]
    assert [each for piece in pieces for each in demultiplexer.feed(piece)] == frames


def test_neighbours_are_joined() -> None:
    assert joined([(1, b"a"), (1, b"b"), (2, b"c"), (1, b"d")]) == [(1, b"ab"), (2, b"c"), (1, b"d")]
    assert joined([]) == []


def test_stamps_are_kept_once_a_line_or_dropped() -> None:
    messages = [(1, stamp(1) + b"long "), (2, stamp(2) + b"other\n"), (1, stamp(3) + b"line\n"), (1, stamp(4) + b"x\n")]
    kept, dropped = LogLines(timestamps=True), LogLines(timestamps=False)
    assert [kept.message(*each) for each in messages] == [messages[0][1], messages[1][1], b"line\n", messages[3][1]]
    assert [dropped.message(*each) for each in messages] == [b"long ", b"other\n", b"line\n", b"x\n"]


def test_a_resumed_read_repeats_nothing_and_misses_nothing() -> None:
    lines = LogLines(timestamps=False)
    for nanoseconds, text in ((1, b"a\n"), (2, b"b\n"), (2, b"c\n")):
        assert lines.message(1, stamp(nanoseconds) + text) == text
    assert lines.since == stamp(2).decode().strip()
    lines.resume()
    again = [lines.message(1, stamp(n) + text) for n, text in ((2, b"b\n"), (2, b"c\n"), (2, b"d\n"), (3, b"e\n"))]
    assert again == [b"", b"", b"d\n", b"e\n"]


def test_a_follower_that_is_sent_back_skips_what_it_has_seen() -> None:
    lines = LogLines(timestamps=False)
    first = [(n, f"{n}\n".encode()) for n in range(1, 6)]
    for n, text in first:
        lines.message(1, stamp(n) + text)
    assert [lines.message(1, stamp(n) + text) for n, text in first[2:]] == [b"", b"", b""]
    assert lines.message(1, stamp(6) + b"6\n") == b"6\n"


def test_streams_are_counted_apart() -> None:
    lines = LogLines(timestamps=False)
    assert lines.message(STDOUT, stamp(5) + b"out\n") == b"out\n"
    assert lines.message(STDERR, stamp(4) + b"err\n") == b"err\n"
    assert lines.since == stamp(4).decode().strip()


def test_a_clock_set_back_silences_nobody() -> None:
    lines = LogLines(timestamps=False)
    assert lines.message(1, stamp(0, minute=30) + b"before\n") == b"before\n"
    assert lines.message(1, stamp(0, minute=10) + b"after\n") == b"after\n"


def test_stamps_as_docker_takes_them() -> None:
    assert unix_time("1970-01-01T00:01:00.000000005Z") == "60.000000005"
    assert unix_time("2026-01-02T03:04:05Z") == "1767323045.000000000"
