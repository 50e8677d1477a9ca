"""The two programs Covey brings along, as complete static ELF executables of a few hundred bytes.

Nothing has to be downloaded or compiled for them: the machine code below is what `as` makes of the assembler sources in
`images/static/` (a test assembles them again and compares), and `executable` puts an ELF header before it.
Pure: bytes in, bytes out.
"""

from __future__ import annotations

import struct
from typing import Final

ARCHITECTURES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
"""The kernel's and Docker's names of a machine, to Debian's and Kubernetes'."""

ISOLATE: Final = "isolate"
"""The argument with which the pause program moves into a network namespace of its own, drops its capabilities and takes
another name, in this order; what the argument says does not matter."""
ISOLATED: Final = "sandbox"
"""That name (/proc/PID/comm): a sandbox is one when its process is called so."""

_ELF_MACHINE: Final = {"amd64": 62, "arm64": 183}
_HEADERS: Final = 64 + 56
_BASE: Final = 0x400000

CODE: Final = {
    ("pause", "amd64"): bytes.fromhex(
        "48833c24027c40bf00000040b8100100000f0585c00f8884000000488d3db6000000488d35b7000000b87e0000000f0585c0"
        "786bbf0f000000488d35b8000000b89d0000000f05488d356a000000bf1100000031d241ba08000000b80d0000000f05488d"
        "354700000031ff31d241ba08000000b80e0000000f05488d3d2f00000031f631d241ba08000000b8800000000f0585c078e4"
        "31ffb8e70000000f05bf01000000b8e70000000f050f1f440000024000000000000001000000000000000000000000000000"
        "0000000000000000000000000000000022050820000000000000000000000000000000000000000000000000000000007361"
        "6e64626f7800"
    ),
    ("pause", "arm64"): bytes.fromhex(
        "e90340f93f0900f1cb0100540000a8d2280c80d2010000d40004f8b7a0050010c1050010680b80d2010000d46003f8b7e001"
        "80d2e1050010e81480d2010000d4200280d261030010020080d2030180d2c81080d2010000d4000080d261020010020080d2"
        "030180d2e81080d2010000d4c0010010010080d2020080d2030180d2281180d2010000d440ffffb7000080d2c80b80d20100"
        "00d4200080d2c80b80d2010000d41f2003d50240000000000000010000000000000000000000000000000000000000000000"
        "0000000000000000220508200000000000000000000000000000000000000000000000000000000073616e64626f7800"
    ),
    ("init", "amd64"): bytes.fromhex(
        "4889e34881ec00100000bf01000000be0100080031d2b8290000000f0585c0785b89c589ef488d355c000000ba11000000b8"
        "2a0000000f0585c0784089ef4889e6ba0010000031c00f054885c07e2d4889e7488d7310488b03488d54c310b83b0000000f"
        "054889042489ef4889e6ba08000000b8010000000f05ebc0bf80000000b8e70000000f0501002f2e636f7665792f736f636b"
        "657400"
    ),
    ("init", "arm64"): bytes.fromhex(
        "f3030091ff0740d1200080d2210080d20101a0f2020080d2c81880d2010000d48003f8b7f40300aaa1030010220280d26819"
        "80d2010000d4c002f8b7e00314aae1030091020082d2e80780d2010000d41f0000f1ed010054e003009161420091620240f9"
        "620e028b42400091a81b80d2010000d4e00300f9e00314aae1030091020180d2080880d2010000d4ecffff17001080d2c80b"
        "80d2010000d401002f2e636f7665792f736f636b657400"
    ),
}
"""Position-independent code and read-only data of (program, architecture); it starts at its first byte."""


def executable(program: str, architecture: str) -> bytes:
    """A static ELF64 executable of `program` ("pause" or "init") for `architecture` ("amd64" or "arm64").

    One read-and-execute segment holds headers and code (ELF-64 Object File Format, version 1.5).
    """
    code = CODE[program, architecture]
    size = _HEADERS + len(code)
    identification = b"\x7fELF" + bytes((2, 1, 1, 0)) + bytes(8)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        identification,
        2,  # ET_EXEC
        _ELF_MACHINE[architecture],
        1,
        _BASE + _HEADERS,
        64,  # the program header follows this one
        0,
        0,
        64,
        56,
        1,
        0,
        0,
        0,
    )
    # PT_LOAD, read and execute; aligned for the largest pages that arm64 kernels use.
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return header + segment + code
