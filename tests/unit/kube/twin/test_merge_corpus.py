"""Our merge against the answers of the library that kube-apiserver itself uses (corpus/make_corpus.py asked it)."""

import gzip
import json
from pathlib import Path

from llama_operator.kube.twin.fields import Merging, describe, encode
from llama_operator.kube.twin.managed_fields import Conflicts, Manager, Operation, apply, update

CORPUS = Path(__file__).parent / "corpus" / "histories.json.gz"
MERGING = Merging(
    list_maps={
        ("containers",): ("name",),
        ("containers", "ports"): ("port", "protocol"),
        ("owners",): ("uid",),
    },
    list_sets=frozenset({("finalizers",)}),
    atomic_maps=frozenset({("selector",), ("owners",)}),
)


def text_of(manager):
    return f"{manager.name}/{manager.operation.value}"


def answers(history):
    live, ownership = {}, {}
    for write in history:
        manager = Manager(write["manager"], Operation(write["operation"]))
        if manager.operation is Operation.APPLY:
            done = apply(live, ownership, write["object"], manager, merging=MERGING, force=write["force"])
        else:
            done = update(live, ownership, write["object"], manager, merging=MERGING)
        conflicts = {}
        if isinstance(done, Conflicts):
            conflicts = {text_of(other): sorted(map(describe, paths)) for other, paths in done.fields.items()}
        else:
            live, ownership = done.content, done.ownership
        yield {
            "conflicts": conflicts,
            "object": live,
            "managers": {text_of(owner): encode(paths) for owner, paths in ownership.items()},
        }


def test_objects_owners_and_conflicts_are_those_of_the_api_servers_library():
    histories = json.loads(gzip.decompress(CORPUS.read_bytes()))
    assert len(histories) > 300
    for number, history in enumerate(histories):
        for step, (write, ours) in enumerate(zip(history, answers(history), strict=True)):
            assert ours == write["answer"], f"history {number}, write {step}"
