"""The netlink socket's bookkeeping, on answers that a kernel might give."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from netproxy.backend import KernelRefused
from netproxy.netfilter import NetfilterSocket

NEWGEN, ERROR = 10 << 8 | 15, 2


class Kernel(NetfilterSocket):
    """Answers by what has been put into `datagrams`, each a list of (type, sequence, payload)."""

    def __init__(self, *datagrams: list[tuple[int, int, bytes]]) -> None:
        super().__init__()
        self.datagrams = list(datagrams)

    def send(self, data: bytes) -> None:
        del data

    def receive(self) -> Iterator[tuple[int, int, bytes]]:
        if not self.datagrams:
            raise KernelRefused("nftables: no answer from the kernel: timed out")
        yield from self.datagrams.pop(0)


def generation(number: int, sequence: int) -> list[tuple[int, int, bytes]]:
    return [(NEWGEN, sequence, struct.pack(">IHHI", 0, 8, 1, number))]


def test_an_answer_that_came_too_late_is_not_taken_for_the_next() -> None:
    """A socket that was one answer behind would stay so for ever."""
    kernel = Kernel()
    try:
        with pytest.raises(KernelRefused):
            kernel.generation()
        kernel.datagrams = [generation(7, 1), generation(8, 2), generation(9, 3)]
        assert [kernel.generation(), kernel.generation()] == [8, 9]
    finally:
        kernel.close()


@pytest.mark.parametrize("answers", [[[(ERROR, 1, struct.pack("=i", -1))]], [generation(7, 99)], []])
def test_a_kernel_that_does_not_tell_is_an_error(answers: list[list[tuple[int, int, bytes]]]) -> None:
    kernel = Kernel(*answers)
    try:
        with pytest.raises(KernelRefused):
            kernel.generation()
    finally:
        kernel.close()
