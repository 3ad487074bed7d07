"""Which keys are valid: those whose file is there, can be read, and has not expired."""

import logging
import os
from datetime import timedelta

import pytest

from llama_serving.door.caller import Caller
from llama_serving.door.credentials import NoKey
from llama_serving.door.keys import GRACE_SECONDS, KeyFolder, Keys
from llama_serving.door.refused_keys import RefusedKeys
from support.serving.doors import FIRST, NOW, SECOND, Clock, entry, write


class Mounted:
    """A folder as the kubelet makes it of a ConfigMap: links to the files of the folder to which `..data` leads."""

    def __init__(self, path):
        self.path, self._version = path, 0
        path.mkdir()

    def swap(self, **files):
        """Write the files into a new folder, swap the link, remove the old folder."""
        self._version += 1
        data, link = self.path / f"..2026_{self._version}", self.path / "..data"
        old = link.resolve() if link.exists() else None
        data.mkdir()
        for name, text in files.items():
            (data / name).write_text(text)
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        temporary = self.path / "..data_tmp"
        temporary.symlink_to(data.name)
        temporary.replace(link)
        for stale in self.path.iterdir():
            if stale.is_symlink() and not stale.exists():
                stale.unlink()
        if old is not None:
            for file in old.iterdir():
                file.unlink()
            old.rmdir()


def text(key, **fields):
    return entry(key, **fields).model_dump_json()


@pytest.fixture
def mounted(tmp_path):
    return Mounted(tmp_path / "mounted")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def errors(caplog):
    """What the log says of keys."""
    caplog.set_level(logging.WARNING, "ray.serve")
    logging.getLogger("ray.serve").propagate = True
    return lambda: [record.getMessage() for record in caplog.records]


def keys_in(path, clock):
    return Keys(KeyFolder(path), clock=clock, now=lambda: NOW)


def is_valid(keys, key):
    return keys.are_known and isinstance(keys.caller_with(key), Caller)


def test_a_swap_brings_and_takes_keys(mounted, clock):
    mounted.swap()
    keys = keys_in(mounted.path, clock)
    steps = [{FIRST.id: FIRST}, {FIRST.id: FIRST, SECOND.id: SECOND}, {SECOND.id: SECOND}, {}, {FIRST.id: FIRST}]
    for step in steps:
        mounted.swap(**{name: text(key) for name, key in step.items()})
        keys.look()
        assert [is_valid(keys, key) for key in (FIRST, SECOND)] == [FIRST.id in step, SECOND.id in step]


def test_a_plain_folder_is_as_good(tmp_path, clock):
    folder = tmp_path / "keys"
    write(folder, FIRST)
    keys = keys_in(folder, clock)
    assert is_valid(keys, FIRST)
    write(folder, SECOND)
    keys.look()
    assert is_valid(keys, SECOND)
    (folder / FIRST.id).unlink()
    keys.look()
    assert not is_valid(keys, FIRST)


def test_an_entry_that_changes_counts_as_it_is_now(mounted, clock):
    mounted.swap(**{FIRST.id: text(FIRST)})
    keys = keys_in(mounted.path, clock)
    mounted.swap(**{FIRST.id: text(FIRST, models=("m",))})
    keys.look()
    assert keys.caller_with(FIRST).models == ("m",)
    mounted.swap(**{FIRST.id: text(SECOND)})
    keys.look()
    assert keys.caller_with(FIRST) is NoKey.WRONG


@pytest.mark.parametrize(
    ("ends", "valid"),
    [(None, True), (timedelta(seconds=1), True), (timedelta(0), False), (timedelta(days=-1), False)],
)
def test_a_key_ends_with_its_time(tmp_path, clock, ends, valid):
    write(tmp_path / "keys", FIRST, expires=None if ends is None else NOW + ends)
    found = keys_in(tmp_path / "keys", clock).caller_with(FIRST)
    assert found == (Caller("team-a", FIRST.id, ()) if valid else NoKey.EXPIRED)


def test_why_a_key_is_refused(tmp_path, clock):
    folder = tmp_path / "keys"
    write(folder, FIRST, expires=NOW)
    keys = keys_in(folder, clock)
    wrong = FIRST.model_copy(update={"secret": SECOND.secret})
    assert [keys.caller_with(key) for key in (SECOND, wrong, FIRST)] == [NoKey.UNKNOWN, NoKey.WRONG, NoKey.EXPIRED]


# What stands in the file of a key instead of its entry.
UNREADABLE = [
    "",
    "{",
    text(FIRST)[:-10],
    "[]",
    "null",
    "\0" * 100,
    text(FIRST) + "x",
    text(FIRST).replace('"expires":null', '"expires":"2026-03-02T09:30:00"'),
    text(FIRST).replace('"team-a"', '"Team A"'),
    text(FIRST).replace('"note"', '"other"'),
    text(FIRST).ljust(70_000),
]


@pytest.mark.parametrize("content", UNREADABLE)
def test_a_file_that_cannot_be_read_is_a_revoked_key_and_disturbs_no_other(mounted, clock, errors, content):
    mounted.swap(**{FIRST.id: text(FIRST), SECOND.id: text(SECOND)})
    keys = keys_in(mounted.path, clock)
    for _ in range(3):
        mounted.swap(**{FIRST.id: content, SECOND.id: text(SECOND)})
        keys.look()
        assert [is_valid(keys, key) for key in (FIRST, SECOND)] == [False, True]
    assert [FIRST.id in line for line in errors()] == [True], "once, not at every look"
    assert FIRST.sha256 not in errors()[0]
    mounted.swap(**{FIRST.id: text(FIRST), SECOND.id: text(SECOND)})
    keys.look()
    assert is_valid(keys, FIRST)


def test_what_is_no_file_with_a_key_is_passed_by(tmp_path, clock, errors):
    folder = tmp_path / "keys"
    write(folder, FIRST)
    (folder / ".hidden").write_text("x")
    (folder / "README").write_text("x")
    (folder / ("a" * 16)).mkdir()
    (folder / ("b" * 16)).symlink_to("nowhere")
    pipe = folder / ("c" * 16)
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDWR)
    keys = keys_in(folder, clock)
    keys.look()
    os.close(descriptor)
    assert is_valid(keys, FIRST)
    assert sorted(line.split()[2] for line in errors()) == ["README", "a" * 16, "b" * 16, "c" * 16]


def test_keys_stay_for_a_while_if_their_folder_cannot_be_read(tmp_path, clock, errors):
    folder, away = tmp_path / "keys", tmp_path / "away"
    write(folder, FIRST)
    keys = keys_in(folder, clock)
    folder.rename(away)
    for _ in range(10):
        clock.seconds += GRACE_SECONDS / 10
        keys.look()
        assert is_valid(keys, FIRST)
    clock.seconds += 1
    keys.look()
    assert not keys.are_known
    assert len(errors()) == 1
    away.rename(folder)
    keys.look()
    assert is_valid(keys, FIRST)


def test_a_mount_whose_link_leads_nowhere_is_a_folder_that_cannot_be_read(mounted, clock):
    mounted.swap(**{FIRST.id: text(FIRST)})
    keys = keys_in(mounted.path, clock)
    (mounted.path / "..data").unlink()
    (mounted.path / "..data").symlink_to("gone")
    keys.look()
    assert is_valid(keys, FIRST)


def test_without_a_folder_from_the_start_no_key_is_known(tmp_path, clock):
    assert not keys_in(tmp_path / "nowhere", clock).are_known


async def test_a_door_that_knows_no_keys_says_so_and_shows_its_pages(ask, clock):
    ask.folder.rename(ask.folder.with_name("away"))
    ask.clock.seconds += GRACE_SECONDS + 1
    ask.keys.look()
    answer = await ask(key=FIRST)
    assert (answer.status, answer.error["code"], answer.passed) == (503, "keys_unavailable", None)
    assert (await ask("GET", "/about")).status == 200


def test_a_swap_in_the_middle_of_a_look_is_read_again(mounted, clock, monkeypatch):
    mounted.swap(**{FIRST.id: text(FIRST)})
    folder = KeyFolder(mounted.path)
    listed, listdir = [], os.listdir

    def listdir_and_swap(descriptor):
        names = listdir(descriptor)
        if not listed:
            listed.append(names)
            mounted.swap(**{FIRST.id: text(FIRST), SECOND.id: text(SECOND)})
        return names

    monkeypatch.setattr(os, "listdir", listdir_and_swap)
    assert sorted(folder.read()) == sorted([FIRST.id, SECOND.id])


def test_a_look_at_a_mount_that_did_not_change_reads_no_file(mounted, clock, monkeypatch):
    mounted.swap(**{FIRST.id: text(FIRST)})
    folder = KeyFolder(mounted.path)
    before = folder.read()

    def refuse(*_, **__):
        raise AssertionError("a folder was listed")

    monkeypatch.setattr(os, "listdir", refuse)
    assert folder.read() is before


def test_a_thread_looks_until_it_is_stopped(tmp_path, clock, monkeypatch):
    monkeypatch.setattr("llama_serving.door.keys.LOOK_SECONDS", 0.001)
    folder = tmp_path / "keys"
    folder.mkdir()
    keys = keys_in(folder, clock)
    keys.start()
    try:
        write(folder, FIRST)
        for _ in range(2000):
            if is_valid(keys, FIRST):
                break
            keys._stopped.wait(0.01)
        assert is_valid(keys, FIRST)
    finally:
        keys.stop()


async def test_the_log_says_why_and_never_the_key(ask, errors):
    wrong = FIRST.model_copy(update={"secret": SECOND.secret})
    for key in (None, SECOND, wrong):
        await ask(key=key)
    lines = errors()
    assert [reason in line for reason, line in zip(("no key", SECOND.id, FIRST.id), lines, strict=True)] == [True] * 3
    assert not any(secret in line for line in lines for secret in (FIRST.secret, SECOND.secret))
    assert "request-2" in lines[1]


def test_strangers_cannot_fill_the_log(clock, errors):
    refused = RefusedKeys(clock)
    for _ in range(1000):
        refused.tell(NoKey.MISSING, None, "r")
    assert len(errors()) == 20
    clock.seconds += 61
    refused.tell(NoKey.MISSING, None, "r")
    assert "980 more" in errors()[-1]
