"""The console entry point of `covey`: what surrounds the command, whichever it is.

Errors end as one sentence on stderr: what, where, and what to do; never a traceback for something a user can cause.
A Ctrl-C ends everything with status 130, also while the command is still being loaded.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command that was given."""
    try:
        _open_outputs()
        _main()
    except KeyboardInterrupt:
        sys.exit(130)


def _main() -> None:
    from cli.app import app, register_verbs
    from mesh.errors import ApiError, CoveyError

    register_verbs()
    if "COVEY_LOG" not in os.environ:  # a user reads sentences; processes configure their own log
        logging.getLogger().addHandler(logging.NullHandler())
    try:
        try:
            app()
        finally:
            _flush_output()  # here, where a failure can still be told
    except ApiError as error:
        from cli.session import sentence

        sys.exit(sentence(error))
    except CoveyError as error:
        sys.exit(f"covey: {error}")
    except BrokenPipeError:  # whoever read our output (head, less) has had enough
        _discard_output()
        sys.exit(0)
    except OSError as error:  # a file of ours or of the user's, the disk, the output, the network
        _discard_output()
        what = error.strerror or error
        sys.exit(f"covey: {error.filename}: {what}" if error.filename else f"covey: {what}")


def _open_outputs() -> None:
    """Whatever we were started with, there is somewhere to write to, and it takes every character."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started us (>&-)
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until we end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush_output() -> None:
    """Write what is left in the buffer. Also what failed to be written before is there still, and fails again here."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def _discard_output() -> None:
    """Python writes what is left in its buffer when it ends, and would complain about that."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
