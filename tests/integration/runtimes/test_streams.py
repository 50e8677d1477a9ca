"""Byte streams of a real Docker: exec, attach, logs, and connections into a sandbox."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from agents.node.ports import RuntimeFailure, State
from agents.node.runtimes.docker import DockerRuntime
from tests.integration.runtimes.test_contract import FOREVER, ended, status
from tests.support.docker import Pod, drained, output

pytestmark = pytest.mark.docker


async def test_exec_with_a_terminal(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh(FOREVER)
    process = await runtime.exec(container, ["sh", "-c", "read x; stty size; echo got $x >&2"], tty=True, stdin=True)
    await process.resize(132, 43)
    await process.write(b"word\n")
    said, other, code = await drained(process)
    assert b"43 132" in said
    assert b"got word" in said
    assert (other, code) == (b"", 0)


async def test_exec_keeps_stdout_and_stderr_apart_and_carries_much(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh(FOREVER)
    script = "echo complaint >&2; head -c 3000000 /dev/zero; exit 5"
    process = await runtime.exec(container, ["sh", "-c", script], tty=False, stdin=False)
    said, complained, code = await drained(process)
    assert (len(said), complained, code) == (3_000_000, b"complaint\n", 5)


async def test_input_of_megabytes_reaches_an_exec(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh(FOREVER)
    process = await runtime.exec(container, ["wc", "-c"], tty=False, stdin=True)
    for _ in range(64):
        await process.write(b"x" * 65536)
    await process.close_stdin()
    assert (await drained(process))[0].strip() == str(64 * 65536).encode()


async def test_attach_speaks_with_the_containers_own_process(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    script = "while read line; do echo got $line; test $line = end && exit 4; done"
    container = await pod.sh(script, stdin=True)
    process = await runtime.attach(container, stdin=True)
    await process.write(b"one\n")
    assert await process.read() == (1, b"got one\n")
    await process.write(b"end\n")
    said, _, code = await drained(process)
    assert (said, code) == (b"got end\n", 4)


async def test_detaching_leaves_the_container_alone(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh("read x; echo got $x; " + FOREVER, stdin=True)
    await (await runtime.attach(container, stdin=True)).close()
    assert (await status(runtime, container)).state is State.RUNNING


async def test_dial_reaches_a_port_on_the_sandboxs_loopback(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    await pod.sh("mkdir /www; echo page > /www/index.html; exec httpd -f -p 127.0.0.1:8080 -h /www")
    async with asyncio.timeout(30):
        while True:
            try:
                reader, writer = await runtime.dial(pod.sandbox.id, 8080)
                break
            except RuntimeFailure:
                await asyncio.sleep(0.02)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.endswith(b"page\n")


async def test_both_streams_of_a_log(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh("echo good; echo bad >&2; printf unfinished")
    assert await output(runtime, container) == (b"good\nunfinished", b"bad\n")


async def test_a_log_of_a_terminal(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh("echo good; echo bad >&2", tty=True)
    assert await output(runtime, container) == (b"good\r\nbad\r\n", b"")


async def test_a_line_longer_than_dockers_messages_has_one_stamp(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh("head -c 50000 /dev/zero | tr '\\0' x; echo; echo short")
    await ended(runtime, container)
    pieces = runtime.logs(container, follow=False, tail=None, since=None, timestamps=True)
    lines = b"".join([data async for _, data in pieces]).splitlines()
    assert [line.split(b" ", 1)[1] for line in lines] == [b"x" * 50_000, b"short"]
    assert await output(runtime, container) == (b"x" * 50_000 + b"\nshort\n", b"")


async def test_a_follower_sees_what_is_written_later(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh("while read line; do echo $line; done", stdin=True, stdin_once=True)
    writer = await runtime.attach(container, stdin=True)
    log = aiter(runtime.logs(container, follow=True, tail=None, since=None, timestamps=False))
    for line in (b"one\n", b"two\n"):
        await writer.write(line)
        assert await anext(log) == (1, line)
    await writer.close_stdin()
    assert [piece async for piece in log] == []
    await writer.close()


async def test_a_log_is_followed_over_rotation_by_a_slow_reader(runtime: DockerRuntime) -> None:
    """Docker rotates at 10 MiB (and repeats itself); the reader pauses now and then, and misses nothing."""
    pod = await Pod.make(runtime)
    count = 80_000
    script = f"read go; awk 'BEGIN {{ for (i = 1; i <= {count}; i++) printf \"%099d\\n\", i }}'"
    container = await pod.sh(script, stdin=True)
    starter = await runtime.attach(container, stdin=True)
    log = runtime.logs(container, follow=True, tail=None, since=None, timestamps=False)

    async def read() -> int:
        expected, rest = itertools.count(1), b""
        lines = 0
        async for _, data in log:
            *complete, rest = (rest + data).split(b"\n")
            for line in complete:
                assert int(line) == next(expected)
            lines += len(complete)
            if lines % 50 == 0:
                await asyncio.sleep(0)
        return lines

    reading = asyncio.create_task(read())
    await starter.write(b"go\n")
    await starter.close_stdin()
    assert await reading == count
    await starter.close()


async def test_a_reader_that_falls_two_files_behind_misses_nothing(runtime: DockerRuntime) -> None:
    """Docker's own follower would go on with the newest file."""
    pod = await Pod.make(runtime)
    count = 36_000
    awk = f'BEGIN {{ for (i = 1; i <= {count}; i++) printf "%0999d\\n", i }}'
    wait = "until [ -e /tmp/{0} ]; do sleep 0.1; done"
    script = f"echo 0; {wait.format('go')}; awk '{awk}'; touch /tmp/done; {wait.format('end')}"
    container = await pod.sh(script)

    async def act(command: str) -> None:
        process = await runtime.exec(container, ["sh", "-c", command], tty=False, stdin=False)
        assert await drained(process) == (b"", b"", 0)

    log = runtime.logs(container, follow=True, tail=None, since=None, timestamps=False)
    assert await anext(log) == (1, b"0\n")
    await act(f"touch /tmp/go; {wait.format('done')}")
    read = bytearray()
    async for _, data in log:
        read += data
        if read.endswith(b"%0999d\n" % count):
            await act("touch /tmp/end")
    assert [int(line) for line in read.split()] == list(range(1, count + 1))


async def test_many_followers_need_no_threads(runtime: DockerRuntime) -> None:
    pod = await Pod.make(runtime)
    container = await pod.sh("echo here; " + FOREVER)
    followers = [
        aiter(runtime.logs(container, follow=True, tail=None, since=None, timestamps=False)) for _ in range(150)
    ]
    first = await asyncio.gather(*(anext(follower) for follower in followers))
    assert set(first) == {(1, b"here\n")}
    rest = [asyncio.create_task(anext(follower, None)) for follower in followers]  # type: ignore[arg-type]
    await runtime.stop_container(container, grace_seconds=10)
    assert set(await asyncio.gather(*rest)) == {None}


async def test_a_log_of_nothing(runtime: DockerRuntime) -> None:
    with pytest.raises(RuntimeFailure, match="No such container") as caught:
        await output(runtime, "0123456789ab")
    assert caught.value.reason == "LogError"
