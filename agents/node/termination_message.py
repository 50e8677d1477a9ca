"""A container's last words: its termination message file, or the end of its log.

https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

from __future__ import annotations

from agents.node.files import PodFiles
from agents.node.observed import exit_code
from agents.node.ports import ContainerStatus, Runtime, RuntimeAway, RuntimeFailure
from mesh.objects.types import Object

LOG_LINES = 80
LOG_BYTES = 2048


async def last_words(files: PodFiles, runtime: Runtime, uid: str, container: Object, ended: ContainerStatus) -> str:
    """The message of an ended container; with FallbackToLogsOnError the log's end when it failed without one."""
    text = files.read_termination(uid, ended.name, ended.attempt)
    if text or container.get("terminationMessagePolicy") != "FallbackToLogsOnError" or exit_code(ended) == 0:
        return text
    kept = bytearray()
    try:
        pieces = runtime.logs(ended.id, follow=False, tail=LOG_LINES, since=None, timestamps=False)
        async for _, piece in pieces:
            kept += piece
            del kept[:-LOG_BYTES]  # a line may be of any length
    except RuntimeAway:
        raise
    except RuntimeFailure:
        return ""  # the log has been rotated away or the container removed: it left no words
    return kept.decode(errors="replace")
