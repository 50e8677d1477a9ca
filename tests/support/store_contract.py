"""What every Store does: the suite that the in-memory one and the one on JetStream both pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from mesh.store.port import Entry, RevisionMismatch, Store, Write


class Recorder:
    """A sink that keeps what it is told, and a view as a cache would have it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.view: dict[str, bytes] = {}
        self.caught: list[int] = []
        self.error: Exception | None = None
        self._changed = asyncio.Event()

    def entry(self, entry: Entry) -> None:
        if self.entries:
            assert entry.revision > self.entries[-1].revision
        self.entries.append(entry)
        if entry.value is None:
            self.view.pop(entry.key, None)
        else:
            self.view[entry.key] = entry.value
        self._changed.set()

    def caught_up(self, revision: int) -> None:
        self.caught.append(revision)
        self._changed.set()

    def lost(self, error: Exception) -> None:
        self.error = error
        self._changed.set()

    @property
    def revision(self) -> int:
        return max(self.caught[-1] if self.caught else 0, self.entries[-1].revision if self.entries else 0)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class StoreContract:
    """Subclasses provide the fixture `store`."""

    async def test_revisions_grow_with_every_write(self, store: Store) -> None:
        first = await store.write(Write("a", b"1", 0))
        second = await store.write(Write("b", b"1", 0))
        third = await store.write(Write("a", b"2", first))
        assert first < second < third
        assert await store.last_revision() == third

    @pytest.mark.parametrize("expected", [0, 999])
    async def test_a_wrong_expectation_writes_nothing(self, store: Store, expected: int) -> None:
        revision = await store.write(Write("a", b"1", 0))
        with pytest.raises(RevisionMismatch):
            await store.write(Write("a", b"2", expected))
        assert await store.last_revision() == revision

    async def test_a_missing_key_cannot_be_updated(self, store: Store) -> None:
        with pytest.raises(RevisionMismatch):
            await store.write(Write("a", b"1", 7))

    async def test_created_again_after_deletion(self, store: Store) -> None:
        first = await store.write(Write("a", b"1", 0))
        gone = await store.write(Write("a", None, first))
        assert gone > first
        again = await store.write(Write("a", b"2", 0))
        assert again > gone
        with pytest.raises(RevisionMismatch):
            await store.write(Write("a", b"3", gone))

    async def test_an_empty_value_is_not_a_deletion(self, store: Store) -> None:
        await store.write(Write("a", b"", 0))
        seen = Recorder()
        following = await store.follow(seen)
        await seen.until(lambda: seen.caught)
        assert seen.view == {"a": b""}
        await following.stop()

    async def test_of_many_creators_one_wins(self, store: Store) -> None:
        results = await asyncio.gather(
            *(store.write(Write("a", b"%d" % i, 0)) for i in range(50)), return_exceptions=True
        )
        assert sorted(type(r).__name__ for r in results) == sorted(["int"] + ["RevisionMismatch"] * 49)

    async def test_follow_delivers_the_latest_of_each_key_then_every_write(self, store: Store) -> None:
        a = await store.write(Write("a", b"1", 0))
        b = await store.write(Write("b", b"1", 0))
        a2 = await store.write(Write("a", b"2", a))
        seen = Recorder()
        following = await store.follow(seen)
        await seen.until(lambda: seen.caught)
        assert seen.caught == [a2]
        assert seen.entries == [Entry("b", b"1", b), Entry("a", b"2", a2)]
        a3 = await store.write(Write("a", b"3", a2))
        gone = await store.write(Write("b", None, b))
        await seen.until(lambda: len(seen.entries) == 4)
        assert seen.entries[2:] == [Entry("a", b"3", a3), Entry("b", None, gone)]
        await following.stop()
        await store.write(Write("c", b"1", 0))
        await asyncio.sleep(0.05)
        assert len(seen.entries) == 4

    async def test_follow_after_a_revision_includes_tombstones(self, store: Store) -> None:
        a = await store.write(Write("a", b"1", 0))
        b = await store.write(Write("b", b"1", 0))
        gone = await store.write(Write("a", None, a))
        seen = Recorder()
        following = await store.follow(seen, after=b)
        await seen.until(lambda: seen.caught)
        assert seen.entries == [Entry("a", None, gone)]
        assert seen.caught == [gone]
        await following.stop()

    async def test_following_an_empty_store(self, store: Store) -> None:
        seen = Recorder()
        following = await store.follow(seen)
        await seen.until(lambda: seen.caught)
        assert (seen.entries, seen.caught) == ([], [0])
        revision = await store.write(Write("a", b"1", 0))
        await seen.until(lambda: seen.entries)
        assert seen.entries == [Entry("a", b"1", revision)]
        await following.stop()

    async def test_ledger_of_hundreds_of_writers(self, store: Store) -> None:
        """Increments by compare-and-set on few keys: none lost, none twice, every revision acknowledged once."""
        seen = Recorder()
        following = await store.follow(seen)
        latest: dict[str, tuple[int, int]] = {}
        acknowledged: list[int] = []

        async def increment(key: str, times: int) -> None:
            for _ in range(times):
                while True:
                    revision, count = latest.get(key, (0, 0))
                    try:
                        written = await store.write(Write(key, b"%d" % (count + 1), revision))
                    except RevisionMismatch:
                        await asyncio.sleep(0)
                        continue
                    latest[key] = (written, count + 1)
                    acknowledged.append(written)
                    break

        await asyncio.gather(*(increment(f"k{i % 60}", 2) for i in range(300)))
        assert len(set(acknowledged)) == len(acknowledged) == 600
        await seen.until(lambda: seen.revision >= max(acknowledged))
        assert seen.view == {f"k{i}": b"10" for i in range(60)}
        assert {entry.revision for entry in seen.entries} <= set(acknowledged)
        await following.stop()

    async def test_a_conflict_spoils_only_itself(self, store: Store) -> None:
        await store.write(Write("k137", b"theirs", 0))
        writes = [store.write(Write(f"k{i}", b"ours", 0)) for i in range(300)]
        results = await asyncio.gather(*writes, return_exceptions=True)
        failed = [i for i, result in enumerate(results) if isinstance(result, BaseException)]
        assert failed == [137]
        assert isinstance(results[137], RevisionMismatch)
        assert len({r for r in results if isinstance(r, int)}) == 299
