"""The adapters of a replica follow the list, each for itself, whatever the others do."""

import asyncio
from collections import Counter

import pytest

from llama_serving.contents.adapter import AdapterRefusedError
from llama_serving.contract.adapters import Adapter, AdapterFault, AdapterReport, AdapterRoom, summed
from llama_serving.engine.adapters import Adapters
from llama_serving.generated import adapter


class Engine:
    """An engine that remembers what it holds; `refuses` are names that it cannot load."""

    def __init__(self):
        self.held, self.answered, self.paths = set(), set(), []
        self.refuses, self.waits = {}, {}
        self.differs, self.meanwhile = set(), {}

    def base_shape(self):
        return None

    async def same_elsewhere(self, folder):
        if folder.name in self.differs:
            raise AdapterRefusedError(AdapterFault.REFUSED, "its files differ between the nodes of this replica")

    async def load_adapter(self, name, path):
        if name in self.meanwhile:
            self.meanwhile.pop(name)()
        if name in self.waits:
            await self.waits[name].wait()
        if name in self.refuses:
            raise self.refuses[name]
        assert name not in self.held, "two of one name are one to the engine"
        self.held.add(name)
        self.answered.add(name)
        self.paths.append(path)

    def hide_adapter(self, name):
        self.answered.discard(name)

    async def forget_adapter(self, name):
        self.held.discard(name)
        self.answered.discard(name)


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate("abcd"):
        adapter.write(tmp_path / name, seed=seed)
    adapter.write(tmp_path / "large", seed=9, rank=16)
    return tmp_path


@pytest.fixture
async def made(folder):
    engine, running = Engine(), Counter()
    room = AdapterRoom(max_loras=1, max_lora_rank=8, max_cpu_loras=2, folder=str(folder))
    adapters = Adapters(room, engine, running=lambda name: running[name], again_seconds=0.05)
    yield adapters, engine, running
    await adapters.stop()


def wanted(**paths):
    return [Adapter(name=name, path=path) for name, path in paths.items()]


async def until(condition):
    """Files are read in a thread, which takes as long as it takes."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a condition of several things
            await asyncio.sleep(0.005)


async def test_the_list_is_loaded_and_told(made):
    adapters, engine, _ = made
    adapters.take(wanted(A="a", B="b"))
    assert adapters.coming() == {"A", "B"}
    assert adapters.names() == frozenset()

    await adapters.tried()

    assert adapters.names() == engine.answered == {"A", "B"}
    assert adapters.coming() == frozenset()
    assert [(one.name, one.source, one.loaded, one.rank) for one in adapters.reports()] == [
        ("A", "a", 1, 8),
        ("B", "b", 1, 8),
    ]


async def test_one_that_cannot_be_loaded_is_told_and_the_others_are_there(made):
    adapters, engine, _ = made
    engine.refuses["A"] = RuntimeError("no place in memory")
    adapters.take(wanted(Gone="gone", Large="large", A="a", B="b"))

    await adapters.tried()

    faults = {one.name: one.fault for one in adapters.reports()}
    assert faults == {
        "Gone": AdapterFault.NOT_FOUND,
        "Large": AdapterFault.RANK_TOO_LARGE,
        "A": AdapterFault.NOT_LOADED,
        "B": None,
    }
    assert "no place in memory" in adapters.reports()[2].message
    assert adapters.names() == {"B"}


async def test_what_could_not_be_loaded_is_tried_again(made, folder):
    adapters, engine, _ = made
    engine.refuses["A"] = AdapterRefusedError(AdapterFault.NOT_LOADED, "not now")
    adapters.take(wanted(A="a", Late="late"))
    await adapters.tried()
    assert adapters.names() == frozenset()

    del engine.refuses["A"]
    adapter.write(folder / "late", seed=7)

    await until(lambda: adapters.names() == {"A", "Late"})


async def test_one_that_leaves_is_refused_at_once_and_forgotten_after_its_last_request(made):
    adapters, engine, running = made
    adapters.take(wanted(A="a", B="b"))
    await adapters.tried()
    running["A"] = 1

    adapters.take(wanted(B="b"))

    assert adapters.names() == engine.answered == {"B"}
    await adapters.tried()
    assert engine.held == {"A", "B"}, "a request still needs it"
    running["A"] = 0
    await until(lambda: engine.held == {"B"})


async def test_a_long_request_of_one_that_leaves_keeps_no_other_from_loading(made):
    adapters, engine, running = made
    adapters.take(wanted(A="a"))
    await adapters.tried()
    running["A"] = 1

    adapters.take(wanted(B="b"))

    await until(lambda: adapters.names() == {"B"})
    assert engine.held == {"A", "B"}


async def test_a_name_with_another_path_waits_for_the_requests_of_the_first(made):
    adapters, _, running = made
    adapters.take(wanted(A="a"))
    await adapters.tried()
    running["A"] = 1

    adapters.take(wanted(A="b"))
    await adapters.tried()

    assert adapters.names() == frozenset()
    assert adapters.coming() == {"A"}
    assert [(one.source, one.loaded) for one in adapters.reports()] == [("b", 0)]
    running["A"] = 0
    await until(lambda: adapters.names() == {"A"})
    assert [one.loaded for one in adapters.reports()] == [1]


async def test_other_weights_in_the_same_folder_have_another_path_for_the_engine(made, folder):
    adapters, engine, _ = made
    for seed in (1, 2, 1):
        for file in (folder / "a").iterdir():
            file.unlink()
        (folder / "a").rmdir()
        adapter.write(folder / "a", seed=seed)
        adapters.take(wanted(A="a"))
        await until(lambda: adapters.names() == {"A"})
        adapters.take(())
        await until(lambda: not engine.held)

    first, second, third = engine.paths
    assert first == third != second, "or the engine takes what it has cached for other weights"


async def test_one_more_than_the_engine_holds_is_told(made):
    adapters, engine, _ = made
    adapters.take(wanted(A="a", B="b", C="c"))
    await adapters.tried()
    assert engine.held == {"A", "B"}
    assert "maxAdapters" in adapters.reports()[2].message


async def test_a_newer_list_does_not_wait_for_the_rest_of_an_older_one(made):
    adapters, engine, _ = made
    engine.waits["A"] = asyncio.Event()
    adapters.take(wanted(A="a", B="b"))
    await asyncio.sleep(0)
    adapters.take(wanted(C="c"))
    engine.waits["A"].set()
    await until(lambda: adapters.names() == {"C"})
    await until(lambda: engine.held == {"C"})
    assert engine.answered == {"C"}


def test_what_replicas_say_adds_up():
    one = Adapter(name="A", path="a")
    with pytest.raises(ValueError, match="frozen"):
        one.path = "b"
    reports = (
        (of("A", "a", loaded=1, rank=8), of("B", "b", failed=1, fault=AdapterFault.NOT_FOUND, message="gone")),
        (of("A", "a", loaded=1, rank=8), of("B", "b", loaded=1, rank=4)),
        (of("A", "old", loaded=1), of("B", "b")),
    )
    told = {(one.name, one.source): one for one in summed(reports)}
    assert {key: (one.loaded, one.failed) for key, one in told.items()} == {
        ("A", "a"): (2, 0),
        ("A", "old"): (1, 0),
        ("B", "b"): (1, 1),
    }
    assert told["B", "b"].fault is AdapterFault.NOT_FOUND
    assert told["B", "b"].rank == 4


def test_replicas_with_different_weights_under_one_name_are_told():
    one, other = of("A", "a", loaded=1, digest="0" * 64), of("A", "a", loaded=1, digest="1" * 64)
    (told,) = summed(((one,), (other,), (one,)))
    assert (told.loaded, told.fault) == (3, None)
    assert "different weights" in told.message
    (same,) = summed(((one,), (one,)))
    assert same.message == ""


def of(name, path, **more):
    return AdapterReport(name=name, source=path, **more)


async def test_an_adapter_that_nodes_see_differently_is_not_loaded_and_the_others_are(made):
    adapters, engine, _ = made
    engine.differs.add("a")
    adapters.take(wanted(A="a", B="b"))
    await adapters.tried()
    assert engine.held == {"B"}
    told = adapters.reports()[0]
    assert (told.loaded, told.fault) == (0, AdapterFault.REFUSED)
    assert "differ between the nodes" in told.message


async def test_files_that_change_while_ranks_read_them_are_read_again(made, folder):
    """One rank may have read the files of before, and another one those of now."""
    adapters, engine, _ = made

    def written():
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (folder / "b" / name).rename(folder / "a" / name)

    engine.meanwhile["A"] = written
    adapters.take(wanted(A="a"))
    await adapters.tried()
    (told,) = adapters.reports()
    assert (told.loaded, told.fault) == (0, AdapterFault.NOT_LOADED)
    assert "put a new version into a new folder" in told.message
    assert engine.held == set()
    await until(lambda: adapters.names() == {"A"})
    assert engine.held == {"A"}
