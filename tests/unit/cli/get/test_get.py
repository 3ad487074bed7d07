"""`kubectl llama get`: what serves, where, and why not; the same facts as a table, as JSON and as a stream."""

import asyncio
import json

import pytest

from llama_operator.cli.get import watch
from llama_operator.cli.get.command import GetOptions
from llama_operator.kube import kinds
from llama_operator.kube.port import NotFoundError, Ref
from support.rights import WithoutRights


def started(*steps):
    """Run what prepares the world before the command opens its own event loop."""

    async def all_of_them():
        for step in steps:
            await step

    asyncio.run(all_of_them())


def test_the_table_says_what_serves_on_what_and_where(world):
    started(world.serving())
    code, out, _ = world.run("get")
    assert code == 0
    for words in (
        "chat", "llama-3.3-70b-instruct", "FP8 2×H100-80GB", "2/2", "3", "True", "Serving", "RolledOut", "aaaaaaaa",
        "http://chat.team-a.svc:8000/v1",
    ):  # fmt: skip
        assert words in out
    assert "NAMESPACE" not in out


def test_json_has_every_fact_and_one_object_for_a_name(world):
    started(world.serving())
    code, found = world.json("get", "chat")
    assert code == 0
    assert found["plan"]["gpusPerReplica"] == 2
    assert found["replicas"] == {"ready": 2, "wanted": 2}
    assert (found["ready"]["status"], found["upToDate"]["reason"]) == ("True", "RolledOut")
    assert found["downSince"] is None
    assert found["revision"] == {"active": "chat-aaaaaaaa", "pending": ""}
    assert found["generation"] == found["observedGeneration"] == 1
    assert found["created"] == "2026-03-02T09:30:00Z"
    assert world.json("get")[1] == {"items": [found]}


def test_the_access_of_what_serves_is_shown(world):
    access = {
        "revision": "chat-aaaaaaaa",
        "mode": "Keys",
        "path": "Direct",
        "keys": "Secret acme",
        "houseLimits": "",
        "advice": "",
    }
    started(world.serving(status={"access": access}), world.serving("old"))
    assert "Keys" in world.run("get")[1]
    assert [item["access"] for item in world.json("get")[1]["items"]] == [access, None]


def test_the_urls_from_outside_are_shown_where_there_are_some(world):
    urls = ["https://llama.acme.example/v1", "https://chat.acme.example/v1"]
    started(world.serving(status={"urls": urls}), world.serving("old"))
    assert [item["urls"] for item in world.json("get")[1]["items"]] == [urls, []]
    out = world.run("get")[1]
    assert "https://llama.acme.example/v1" in out
    assert "http://chat.team-a.svc" not in out


def test_all_namespaces_are_shown_with_their_names(world):
    started(world.serving(), world.serving("code", "team-b"))
    assert [item["name"] for item in world.json("get")[1]["items"]] == ["chat"]
    assert [item["name"] for item in world.json("get", "-n", "team-b")[1]["items"]] == ["code"]
    _, out, _ = world.run("get", "-A")
    assert "NAMESPACE" in out
    assert "team-b" in out


def test_a_deployment_that_nobody_has_looked_at_yet_says_so(world):
    started(world.deployment())
    _, out, _ = world.run("get")
    assert "Unknown" in out
    assert "NotSeenYet" in out


def test_a_status_about_an_older_spec_is_marked(world):
    started(world.serving(), world.deployment(spec={"model": {"name": "llama-3.1-8b"}}))
    _, out, _ = world.run("get")
    assert "of an older spec" in out


def test_a_deployment_that_is_being_deleted_says_so_and_no_older_spec(world):
    started(
        world.serving(finalizers=["acme.example/keep"]),
        world.user.delete(Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat")),
    )
    _, out, _ = world.run("get")
    assert "Serving (being deleted)" in out
    assert "older spec" not in out
    assert world.json("get", "chat")[1]["deletedAt"] == "2026-03-02T09:30:00Z"


def test_a_revision_on_its_way_stands_beside_the_one_that_serves(world):
    started(world.serving(status={"revisions": {"active": "chat-aaaaaaaa", "pending": "chat-bbbbbbbb"}}))
    assert "aaaaaaaa → bbbbbbbb" in world.run("get")[1]


def test_a_rollout_and_an_outage_look_different(world, serving_facts):
    _, conditions, _ = serving_facts
    late, down = (
        ("False", "RollingOut", "is being started"),
        ("False", "NodesLost", "served until 09:12:00Z on 2026-03-02"),
    )
    started(
        world.serving("rolls", status={"conditions": conditions(UpToDate=late)}),
        world.serving("down", status={"conditions": conditions(Ready=down), "downSince": "2026-03-02T09:12:00Z"}),
    )
    lines = {line.split()[0]: line.split() for line in world.run("get")[1].splitlines() if line.strip()}
    assert [word for word in lines["rolls"] if word in {"True", "False", "Serving", "RollingOut"}] == [
        "True", "Serving", "RollingOut"
    ]  # fmt: skip
    assert [word for word in lines["down"] if word in {"True", "False", "NodesLost", "RolledOut"}] == [
        "False", "NodesLost", "RolledOut"
    ]  # fmt: skip
    assert world.json("get", "down")[1]["downSince"] == "2026-03-02T09:12:00Z"


def test_a_status_of_another_version_is_listed_with_what_can_be_read(world):
    started(world.serving())
    asyncio.run(world.operator.merge_patch(Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat"), {"metadata": {}}))
    world.seed(kinds.LLAMA_DEPLOYMENT, "odd", "team-a", spec={}, status={"replicas": "many"})
    code, found = world.json("get")
    assert code == 0
    assert [item["name"] for item in found["items"]] == ["chat", "odd"]


def test_a_name_that_does_not_exist_is_answered_with_the_nearest_one(world):
    started(world.serving("chat-70b"))
    code, _, err = world.run("get", "chat-7b")
    assert code == 1
    assert "did you mean chat-70b?" in err


def test_an_empty_namespace_is_no_error(world):
    code, out, _ = world.run("get")
    assert code == 0
    assert "No LlamaDeployment in namespace team-a" in out
    assert world.json("get")[1] == {"items": []}


class Refusing:
    """A cluster that refuses every read, in the words of a real one."""

    def __init__(self, error):
        self.error = error

    async def list(self, kind, *, namespace=None, labels=None, fields=None):
        raise self.error

    async def get(self, ref):
        raise self.error


def test_a_missing_right_is_named_with_the_command_that_checks_it(world):
    world.client = WithoutRights(world.client)
    code, _, err = world.run("get")
    assert code == 1
    assert "jo may not list llamadeployments.llama-operator.io in namespace team-a" in err
    assert "kubectl auth can-i list llamadeployments.llama-operator.io -n team-a" in err


@pytest.mark.parametrize("command", [["get"], ["get", "chat"], ["get", "--watch"]])
def test_a_cluster_without_our_crds_is_told_from_a_missing_object(world, command):
    world.client = Refusing(NotFoundError("404 page not found"))
    code, _, err = world.run(*command)
    assert code == 1
    assert "kubectl llama doctor" in err


async def test_watch_follows_changes_and_deletions_as_lines_of_json(world, capsys):
    await world.serving()
    async with world.connect_as("team-a") as connection:
        watching = asyncio.create_task(watch.command(connection, GetOptions(as_json=True, watch=True)))
        await settle()
        await world.serving("code")
        await settle()
        await world.user.delete(Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat"))
        await settle()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(event["type"], event["object"]["name"]) for event in events] == [
        ("SEEN", "chat"), ("SEEN", "code"), ("SEEN", "code"), ("DELETED", "chat"),
    ]  # fmt: skip


async def test_watch_starts_over_when_the_cluster_has_forgotten_what_it_asks_for(world, capsys):
    await world.serving()
    async with world.connect_as("team-a") as connection:
        watching = asyncio.create_task(watch.command(connection, GetOptions(watch=True)))
        await settle()
        await world.serving("code")
        world.memory.forget_history()
        await settle()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    out = capsys.readouterr().out
    assert out.count("team-a/chat") == 1
    assert "team-a/code" in out


async def settle():
    for _ in range(50):
        await asyncio.sleep(0)
