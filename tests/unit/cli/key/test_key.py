"""`kubectl llama key`: a key is shown once and kept as a hash, and nobody's change of keys undoes another one's."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from llama_operator.cli.key import create, revoke, rotate
from llama_operator.cli.shared.connection import ClusterError
from llama_operator.kube import kinds
from llama_operator.kube.delegating import Delegating
from llama_operator.kube.port import NotFoundError, Ref
from llama_operator.kube.secret_kind import SECRET
from llama_serving.contract.keys import KeyEntry, is_key_of, make, parse
from llama_serving.door.caller import Caller
from llama_serving.door.credentials import NoKey
from llama_serving.door.keys import KeyFolder, Keys
from support.rights import WithoutRights

CONFIG_MAP = Ref(kinds.CONFIG_MAP, "team-a", "chat-keys")
TEAM_SECRET = Ref(SECRET, "team-a", "ours")

SERVED = "llama-3.3-70b-instruct"
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def spec_with(spec, **access):
    return spec | {"access": access, "adapters": [{"name": "acme-support"}]}


@pytest.fixture
def chat(world, serving_facts):
    """Makes the deployment `chat`, with what is said of its access."""

    def build(*, purpose=None, **access):
        spec = spec_with(serving_facts[2], **access)
        spec["license"] = spec["license"] | ({"purpose": purpose} if purpose else {})
        asyncio.run(world.serving(spec=spec))

    return build


@pytest.fixture
def data(world):
    """Reads the entries of the ConfigMap, or of a Secret, as texts."""

    def read(ref=CONFIG_MAP):
        held = asyncio.run(world.user.get(ref)).get("data", {})
        return {name: base64.b64decode(value).decode() if ref.kind == SECRET else value for name, value in held.items()}

    return read


def made(world, *arguments, tenant="acme"):
    """Make a key; returns it as the command's JSON tells it."""
    code, document = world.json("key", "create", "chat", "--tenant", tenant, *arguments)
    assert code == 0
    return document


def write(world, ref=CONFIG_MAP, **entries):
    """Put entries there as somebody else does."""
    world.seed(ref.kind, ref.name, ref.namespace, data=entries)


def entry(**fields):
    return KeyEntry(**{"tenant": "acme", "sha256": "0" * 64} | fields)


def ident(number):
    """An id of a key."""
    return make(bytes([number]) * 42).id


def test_a_key_is_shown_once_and_kept_as_a_hash(world, chat, data):
    chat(mode="Keys")
    document = made(world, "--models", SERVED, "--expires", "90d", "--note", "batch jobs")
    key = parse(document["key"])
    assert document["id"] == key.id
    kept = data()
    assert list(kept) == [key.id]
    held = KeyEntry.model_validate_json(kept[key.id])
    assert is_key_of(key, held)
    assert held == KeyEntry(
        tenant="acme", sha256=key.sha256, models=(SERVED,), expires=NOW + 90 * DAY, created=NOW, note="batch jobs"
    )
    assert key.secret not in json.dumps(asyncio.run(world.user.get(CONFIG_MAP)))
    assert key.secret not in json.dumps(world.json("key", "list", "chat")[1])
    assert held.sha256 not in world.run("key", "list", "chat")[1]


@pytest.mark.parametrize("flag", [("-q",), ("--quiet",), ("-o", "key")])
def test_a_script_gets_the_key_alone(world, chat, flag):
    chat(mode="Keys")
    code, out, err = world.run("key", "create", "chat", "--tenant", "acme", *flag)
    assert (code, err) == (0, "")
    assert parse(out.removesuffix("\n")) is not None


def test_people_get_the_key_and_what_to_do_with_it(world, chat):
    chat(mode="Keys")
    code, out, _ = world.run("key", "create", "chat", "--tenant", "acme")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("key ")]
    key = parse(line.split()[1])
    assert "http://chat.team-a.svc:8000/v1/models" in out
    assert f"kubectl llama key revoke chat {key.id} -n team-a" in out
    assert "models    all" in out
    assert "!" not in out


def test_two_keys_are_two_entries_and_nothing_has_an_owner(world, chat, data):
    chat(mode="Keys")
    first, second = made(world), made(world, tenant="globex")
    assert data().keys() == {first["id"], second["id"]}
    live = asyncio.run(world.user.get(CONFIG_MAP))
    assert "ownerReferences" not in live["metadata"]
    assert live["metadata"]["labels"]["llama-operator.io/deployment"] == "chat"


def test_keys_outlive_the_deployment(world, chat, data):
    chat(mode="Keys")
    key = made(world)
    asyncio.run(world.user.delete(Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat")))
    chat(mode="Keys")
    assert [row["id"] for row in world.json("key", "list", "chat")[1]["keys"]] == [key["id"]]


def test_the_object_that_the_spec_names_is_taken(world, chat, data):
    chat(mode="Keys", keys={"configMap": "shared-keys"})
    document = made(world)
    assert document["keptIn"] == {"kind": "ConfigMap", "name": "shared-keys"}
    assert list(data(Ref(kinds.CONFIG_MAP, "team-a", "shared-keys"))) == [document["id"]]


def test_a_secret_of_the_team_is_filled_and_never_made(world, chat, data):
    chat(mode="Keys", keys={"secret": "ours"})
    code, _, err = world.run("key", "create", "chat", "--tenant", "acme")
    assert code == 1
    assert "kubectl create secret generic ours -n team-a" in err
    world.seed(SECRET, "ours", "team-a", type="Opaque")
    first, second = made(world), made(world)
    assert data(TEAM_SECRET).keys() == {first["id"], second["id"]}
    assert is_key_of(parse(first["key"]), KeyEntry.model_validate_json(data(TEAM_SECRET)[first["id"]]))
    replaced = world.json("key", "rotate", "chat", first["id"])[1]
    assert {row["id"] for row in world.json("key", "list", "chat")[1]["keys"]} == {
        first["id"], second["id"], replaced["id"],
    }  # fmt: skip
    assert world.run("key", "revoke", "chat", first["id"], second["id"])[0] == 0
    assert data(TEAM_SECRET).keys() == {replaced["id"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tenant", "Acme"], ["--tenant", "small letters"]),
        (["--tenant", "acme\n"], ["--tenant"]),
        (["--models", "gpt-4"], ["serves no gpt-4", SERVED, "acme-support"]),
        (["--models", SERVED.removesuffix("t")], [f"did you mean {SERVED}?"]),
        (["--models", f"{SERVED},,"], ["--models", "commas"]),
        (["--expires", "2026-03-01"], ["--expires", "has passed"]),
        (["--expires", "2026-03-02T09:30:00Z"], ["has passed"]),
        (["--expires", "0d"], ["has passed"]),
        (["--expires", "2027-02-30"], ["--expires", "90d"]),
        (["--expires", "2027-01-31T12:00:00"], ["with its zone"]),
        (["--expires", "soon"], ["never"]),
        (["--expires", "9999w"], ["--expires"]),
        (["--expires", "9999-12-31"], ["--expires"]),
        (["--expires", "١d"], ["--expires"]),
        (["--note", "x" * 257], ["--note", "257", "256"]),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_written(world, chat, arguments, words):
    chat(mode="Keys")
    arguments = arguments if "--tenant" in arguments else ["--tenant", "acme", *arguments]
    code, out, err = world.run("key", "create", "chat", *arguments)
    assert (code, out) == (2, "")
    for word in words:
        assert word in err
    with pytest.raises(NotFoundError):
        asyncio.run(world.user.get(CONFIG_MAP))


@pytest.mark.parametrize(
    ("said", "expires"),
    [
        ("never", None),
        ("30m", NOW + timedelta(minutes=30)),
        ("12h", NOW + timedelta(hours=12)),
        ("4w", NOW + 28 * DAY),
        ("2027-01-31", datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-03-02", datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC)),
        ("2027-01-31T12:00:00+02:00", datetime(2027, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_an_end_is_understood(world, chat, data, said, expires):
    chat(mode="Keys")
    made(world, "--expires", said)
    (value,) = data().values()
    assert KeyEntry.model_validate_json(value).expires == expires


def test_an_adapter_is_a_name_of_the_endpoint(world, chat):
    chat(mode="Keys")
    assert made(world, "--models", "acme-support")["models"] == ["acme-support"]


def test_an_alias_is_a_name_of_the_endpoint(world, serving_facts):
    spec = spec_with(serving_facts[2], mode="Keys") | {"endpoint": {"aliases": ["Llama-chat"]}}
    asyncio.run(world.serving(spec=spec))
    assert made(world, "--models", "Llama-chat")["models"] == ["Llama-chat"]


@pytest.mark.parametrize("readable", [True, False])
def test_names_of_a_model_of_the_cluster_are_looked_up_where_the_user_may(world, chat, serving_facts, readable):
    spec = spec_with(serving_facts[2], mode="Keys") | {"model": {"name": "acme-tuned"}}
    asyncio.run(world.serving(spec=spec))
    world.seed(kinds.LLAMA_MODEL, "acme-tuned", spec={"servedName": "Llama-Acme"})
    if not readable:
        world.client = WithoutRights(world.client, kinds.LLAMA_MODEL)
    assert ("jo may not get llamamodels" in made(world, "--models", "Llama-Acme")["warning"]) is not readable
    code, _, err = world.run("key", "create", "chat", "--tenant", "acme", "--models", "acme-tuned")
    assert (code == 2) is readable
    assert ("Llama-Acme" in err) is readable


def test_a_deployment_that_does_not_exist_is_refused(world, chat):
    chat(mode="Keys")
    code, _, err = world.run("key", "create", "chta", "--tenant", "acme")
    assert code == 1
    assert "did you mean chat?" in err


@pytest.mark.parametrize("action", [["create", "chat", "--tenant", "acme"], ["revoke", "chat", ident(1)]])
def test_an_immutable_object_is_refused(world, chat, action, data):
    chat(mode="Keys")
    world.seed(kinds.CONFIG_MAP, "chat-keys", "team-a", immutable=True, data={ident(1): "{}"})
    code, _, err = world.run("key", *action)
    assert code == 1
    assert "is immutable" in err
    assert data() == {ident(1): "{}"}


def test_a_full_object_is_refused_with_what_is_in_it(world, chat, data):
    chat(mode="Keys")
    write(world, **{ident(number): "x" * 349_000 for number in (1, 2, 3)})
    code = 0
    while code == 0:
        code, _, err = world.run("key", "create", "chat", "--tenant", "acme", "--note", "y" * 256)
    assert "no room for another key" in err
    assert len(data()) > 3
    assert f"holds {len(data())} " in err
    assert sum(map(len, data().values())) <= 1024 * 1024


def test_an_endpoint_that_asks_for_no_key_is_said(world, chat):
    chat(mode="Open")
    assert "spec.access.mode" in made(world)["warning"]
    assert "serves everybody who reaches it" in world.run("key", "list", "chat")[1]


@pytest.mark.parametrize(
    ("mode", "purpose", "asks"),
    [
        ("Keys", None, True),
        ("Open", "Production", False),
        ("Auto", "Production", True),
        ("Auto", "Evaluation", False),
        (None, "Production", True),
        (None, None, False),
        (7, None, False),
    ],
)
def test_whether_keys_are_asked_for_follows_from_mode_and_purpose(world, chat, mode, purpose, asks):
    chat(purpose=purpose, **({} if mode is None else {"mode": mode}))
    access = world.json("key", "list", "chat")[1]["access"]
    assert access["asksForKeys"] is asks
    assert "spec.access.mode" in access["reason"]


@pytest.mark.parametrize(
    ("serves", "spec", "asks", "next_asks", "words"),
    [
        ({"mode": "Keys", "keys": "ConfigMap chat-keys"}, {"mode": "Keys"}, True, True, ""),
        ({"mode": "Keys", "keys": "ConfigMap chat-keys"}, {"mode": "Open"}, True, False, ""),
        ({"mode": "Open", "keys": ""}, {"mode": "Keys"}, False, True, "its next revision asks for keys"),
        ({"mode": "Open", "keys": ""}, {"mode": "Auto"}, False, False, "set spec.access.mode to Keys"),
        ({"mode": "Keys", "keys": "Secret old"}, {"mode": "Keys"}, True, True, "still reads the keys of Secret old"),
        (
            {"mode": "Keys", "keys": "ConfigMap chat-keys"},
            {"mode": "Keys", "keys": {"secret": "ours"}},
            True,
            True,
            "still",
        ),
    ],
)
def test_what_serves_goes_before_what_the_spec_asks_for(world, serving_facts, serves, spec, asks, next_asks, words):
    access = {"revision": "chat-1", "path": "Direct"} | serves
    asyncio.run(world.serving(spec=spec_with(serving_facts[2], **spec), status={"access": access}))
    found = world.json("key", "list", "chat")[1]["access"]
    assert (found["asksForKeys"], found["nextRevisionAsksForKeys"]) == (asks, next_asks)
    assert "chat-1" in found["reason"]
    assert words in found["warning"]
    assert bool(words) is bool(found["warning"])
    assert found["warning"] in world.run("key", "list", "chat")[1]
    if "secret" not in spec.get("keys", {}):
        assert made(world)["warning"] == found["warning"]


def test_the_door_takes_the_keys_that_are_made_until_they_are_revoked(world, chat, data, tmp_path):
    chat(mode="Keys")
    first = parse(made(world, "--models", SERVED)["key"])
    second = parse(made(world, "--expires", "1h", tenant="globex")["key"])
    moment = [NOW]

    def door():
        """The door's table of keys, as the kubelet brings the object into the pods."""
        for path in tmp_path.iterdir():
            path.unlink()
        for name, text in data().items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        keys = Keys(KeyFolder(tmp_path), now=lambda: moment[0])
        keys.look()
        return keys

    assert door().caller_with(first) == Caller(tenant="acme", key_id=first.id, models=(SERVED,))
    assert door().caller_with(second) == Caller(tenant="globex", key_id=second.id, models=())
    code, out, _ = world.run("key", "rotate", "chat", first.id, "--overlap", "2h", "-q")
    assert code == 0
    third = parse(out.strip())
    assert {door().caller_with(key).tenant for key in (first, third)} == {"acme"}
    moment[0] += timedelta(hours=2)
    assert [door().caller_with(key) for key in (first, second)] == [NoKey.EXPIRED, NoKey.EXPIRED]
    assert world.run("key", "revoke", "chat", third.id)[0] == 0
    assert door().caller_with(third) is NoKey.UNKNOWN


@pytest.mark.parametrize(("tenants", "warned"), [([], False), (["acme"], False), (["globex", "search"], True)])
def test_a_tenant_without_limits_among_those_with_limits_is_said(world, serving_facts, tenants, warned):
    spec = spec_with(serving_facts[2], mode="Keys") | {"tenants": [{"name": name} for name in tenants]}
    asyncio.run(world.serving(spec=spec))
    warning = made(world)["warning"]
    assert bool(warning) is warned
    assert not warned or "it has globex, search" in warning


def test_an_entry_that_the_door_would_not_read_is_not_made(world, chat, serving_facts):
    names = [f"{'x' * 125}{number}" for number in range(64)]
    spec = spec_with(serving_facts[2], mode="Keys") | {"adapters": [{"name": name} for name in names]}
    asyncio.run(world.serving(spec=spec))
    code, _, err = world.run("key", "create", "chat", "--tenant", "acme", "--models", ",".join(names))
    assert code == 2
    assert "--models" in err
    assert len(made(world, "--models", ",".join(names[:60]))["models"]) == 60


def test_list_has_those_that_end_first_at_the_top_and_says_what_each_is(world, chat):
    chat(mode="Keys")
    write(
        world,
        **{
            ident(1): entry(created=NOW - 3 * DAY).model_dump_json(),
            ident(2): entry(expires=NOW + 3 * DAY + timedelta(hours=1), tenant="globex").model_dump_json(),
            ident(3): entry(expires=NOW - DAY).model_dump_json(),
            ident(4): entry(expires=NOW + 60 * DAY, models=("a", "b", "c", "d")).model_dump_json(),
            ident(5): '{"tenant": "acme"}',
            "README": "keys of team a",
        },
    )
    rows = world.json("key", "list", "chat")[1]["keys"]
    assert [(row["id"], row["state"]) for row in rows] == [
        (ident(3), "Expired"),
        (ident(2), "EndsSoon"),
        (ident(4), "Valid"),
        (ident(1), "Valid"),
        ("README", "Unreadable"),
        (ident(5), "Unreadable"),
    ]
    out = world.run("key", "list", "chat")[1]
    for words in ("Ends in 3 d", "a, b, c and 1 more", "3d ago", "sha256: Field required", "no id of a key"):
        assert words in out
    rows = world.json("key", "list", "chat", "--tenant", "globex")[1]["keys"]
    assert [row["id"] for row in rows] == [ident(2)]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "llm_" + "a" * 16,
        "[]",
        '{"tenant": "acme", "sha256": "' + "0" * 64 + '", "expires": "2027-01-31T00:00:00"}',
        '{"tenant": "acme", "sha256": "' + "0" * 64 + '", "expires": "9999-12-31T23:59:59-14:00"}',
        '{"tenant": "acme", "sha256": "' + "0" * 64 + '", "llm_aaaa": 1}',
        '{"tenant": "\x1b[31m", "sha256": "' + "0" * 64 + '"}',
        "[" * 8_000,
        entry().model_dump_json().replace("}", " " * 9_000 + "}"),
    ],
)
@pytest.mark.parametrize("kind", [kinds.CONFIG_MAP, SECRET])
def test_a_value_of_others_is_unreadable_and_not_shown(world, chat, value, kind):
    chat(mode="Keys", keys={"secret": "ours"} if kind == SECRET else {})
    held = base64.b64encode(value.encode()).decode() if kind == SECRET else value
    write(world, Ref(kind, "team-a", "ours" if kind == SECRET else "chat-keys"), **{ident(1): held})
    code, out, _ = world.run("key", "list", "chat", "-o", "json")
    (row,) = json.loads(out)["keys"]
    assert (code, row["state"]) == (0, "Unreadable")
    assert row["problem"]
    assert "llm_a" not in out
    assert world.run("key", "rotate", "chat", ident(1))[0] == 1
    assert world.run("key", "revoke", "chat", ident(1))[0] == 0


def test_no_object_is_no_key_and_no_error(world, chat):
    chat(mode="Keys")
    assert world.json("key", "list", "chat")[1]["keys"] == []
    out = world.run("key", "list", "chat")[1]
    assert "every request is refused" in out
    assert "kubectl llama key create chat --tenant TENANT -n team-a" in out
    assert "every request is refused" not in world.run("key", "list", "chat", "--tenant", "acme")[1]


def test_a_secret_that_may_not_be_read_is_not_the_same_as_none(world, chat):
    chat(mode="Keys", keys={"secret": "ours"})
    world.client = WithoutRights(world.client, SECRET)
    code, document = world.json("key", "list", "chat")
    assert (code, document["keys"]) == (1, None)
    assert document["unknown"] == ["jo may not get secrets ours in namespace team-a"]
    code, out, _ = world.run("key", "list", "chat")
    assert code == 1
    assert "jo may not get secrets ours in namespace team-a" in out


def test_a_missing_right_names_verb_and_object(world, chat):
    chat(mode="Keys")
    world.client = WithoutRights(world.client, kinds.CONFIG_MAP)
    code, _, err = world.run("key", "create", "chat", "--tenant", "acme")
    assert code == 1
    assert "jo may not get configmaps chat-keys in namespace team-a" in err
    assert "kubectl auth can-i get configmaps/chat-keys -n team-a" in err


def test_rotate_makes_a_key_of_the_same_tenant_and_lets_the_older_one_end(world, chat, data):
    chat(mode="Keys")
    old = made(world, "--models", SERVED, "--expires", "90d", "--note", "batch")
    world.now += 10 * DAY
    code, new = world.json("key", "rotate", "chat", old["id"], "--overlap", "2d")
    assert code == 0
    assert new["replaces"] == {"id": old["id"], "expires": "2026-03-14T09:30:00Z"}
    kept = {name: KeyEntry.model_validate_json(value) for name, value in data().items()}
    assert kept[old["id"]].expires == NOW + 12 * DAY
    assert is_key_of(parse(old["key"]), kept[old["id"]])
    key = parse(new["key"])
    assert kept[key.id] == KeyEntry(
        tenant="acme",
        sha256=key.sha256,
        models=(SERVED,),
        expires=NOW + 100 * DAY,
        created=NOW + 10 * DAY,
        note="batch",
    )
    out = world.run("key", "rotate", "chat", key.id)[1]
    assert f"The older key {key.id} ends at 2026-03-13T09:30:00Z." in out


@pytest.mark.parametrize(
    ("old", "arguments", "old_end", "new_end"),
    [
        ({}, [], NOW + DAY, None),
        ({}, ["--overlap", "0"], NOW, None),
        (
            {"expires": NOW + timedelta(hours=2), "created": NOW - DAY},
            [],
            NOW + timedelta(hours=2),
            NOW + timedelta(hours=26),
        ),
        ({"expires": NOW + 9 * DAY}, [], NOW + DAY, NOW + 9 * DAY),
        ({"expires": NOW - DAY, "created": NOW - 2 * DAY}, [], NOW - DAY, NOW + DAY),
        ({"expires": NOW + 9 * DAY}, ["--expires", "never"], NOW + DAY, None),
        ({}, ["--expires", "2d"], NOW + DAY, NOW + 2 * DAY),
        (
            {"expires": datetime(9999, 12, 31, tzinfo=UTC), "created": NOW - DAY},
            [],
            NOW + DAY,
            datetime(9999, 12, 31, tzinfo=UTC),
        ),
    ],
)
def test_the_older_key_never_lasts_longer_and_the_new_one_as_long_as_that(
    world, chat, data, old, arguments, old_end, new_end
):
    chat(mode="Keys")
    write(world, **{ident(1): entry(**old).model_dump_json()})
    new = world.json("key", "rotate", "chat", ident(1), *arguments)[1]["id"]
    kept = {name: KeyEntry.model_validate_json(value) for name, value in data().items()}
    assert (kept[ident(1)].expires, kept[new].expires) == (old_end, new_end)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([ident(9)], 1, "there is no key"),
        ([ident(1), "--overlap", "long"], 2, "--overlap"),
        ([ident(1), "--overlap", "99999w"], 2, "--overlap"),
        ([ident(1)], 2, "--expires"),
        (["llm_" + ident(1)], 2, "16 characters"),
    ],
)
def test_a_rotation_that_cannot_be_is_refused_and_nothing_is_written(world, chat, data, arguments, code, words):
    chat(mode="Keys")
    write(world, **{ident(1): entry(expires=NOW - DAY).model_dump_json()})
    before = data()
    got, out, err = world.run("key", "rotate", "chat", *arguments)
    assert (got, out) == (code, "")
    assert words in err
    assert data() == before


def test_revoke_removes_keys_and_says_how_long_it_takes(world, chat, data):
    chat(mode="Keys")
    first, second, third = (made(world) for _ in range(3))
    code, out, _ = world.run("key", "revoke", "chat", first["id"], second["key"])
    assert code == 0
    assert f"revoked {first['id']}\nrevoked {second['id']}\n" in out
    assert "two minutes" in out
    assert second["key"] not in out
    assert list(data()) == [third["id"]]
    code, document = world.json("key", "revoke", "chat", third["id"])
    assert (document["revoked"], document["refusedWithinSeconds"]) == ([third["id"]], 120)
    assert data() == {}
    assert made(world)["id"] in data()


def serves(world, path):
    """The deployment `chat` has the traffic of a revision with keys on `path`."""
    ref = Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat")
    live = asyncio.run(world.user.get(ref))
    access = {"revision": "chat-aaaaaaaa", "mode": "Keys", "path": path, "keys": "ConfigMap chat-keys"}
    world.seed(kinds.LLAMA_DEPLOYMENT, "chat", "team-a", spec=live["spec"], status=live["status"] | {"access": access})
    return lambda: asyncio.run(world.user.get(ref))["spec"]["access"].get("revokedKeys")


def test_revoke_names_the_key_to_the_replicas_where_they_take_such_a_list(world, chat):
    chat(mode="Keys")
    first, second = (made(world) for _ in range(2))
    listed = serves(world, "Direct")
    code, out, _ = world.run("key", "revoke", "chat", first["id"])
    assert (code, listed()) == (0, [first["id"]])
    assert "within seconds" in out
    assert "two minutes" in out, "until a list of models is refused too"
    code, document = world.json("key", "revoke", "chat", second["id"])
    assert (document["deniedByReplicas"], listed()) == (True, [second["id"], first["id"]])


def test_the_list_holds_those_that_were_revoked_last(world, chat):
    chat(mode="Keys", revokedKeys=[ident(number) for number in range(256)])
    key = made(world)
    listed = serves(world, "Direct")
    assert world.run("key", "revoke", "chat", key["id"])[0] == 0
    assert listed() == [key["id"], *(ident(number) for number in range(255))]


@pytest.mark.parametrize("why", ["path", "right"])
def test_revoke_says_why_it_takes_long(world, chat, data, why):
    chat(mode="Keys")
    key = made(world)
    listed = serves(world, "Direct" if why == "right" else "Ingress")
    if why == "right":
        world.client = ReadsOnly(world.client, kinds.LLAMA_DEPLOYMENT)
    code, out, _ = world.run("key", "revoke", "chat", key["id"])
    assert (code, listed(), data()) == (0, None, {})
    assert "two minutes" in out
    assert {"path": "the path Ingress", "right": "you may not change"}[why] in out


class ReadsOnly(WithoutRights):
    """A user who may look."""

    def _check(self, verb, ref, request=None, *, part=""):
        if verb not in {"get", "list", "watch"}:
            super()._check(verb, ref, request, part=part)


def test_revoke_of_one_that_does_not_exist_revokes_none(world, chat, data):
    chat(mode="Keys")
    key = made(world)
    code, _, err = world.run("key", "revoke", "chat", key["id"], ident(9))
    assert code == 1
    assert ident(9) in err
    assert list(data()) == [key["id"]]


def test_revoke_needs_ids_or_a_tenant(world, chat):
    chat(mode="Keys")
    assert world.run("key", "revoke", "chat")[0] == 2
    assert world.run("key", "revoke", "chat", ident(1), "--tenant", "acme")[0] == 2
    assert world.run("key", "revoke", "chat", "--tenant", "acme", "--yes")[0] == 1


class Terminal:
    def __init__(self, answer, *, people=True):
        self.answer = answer
        self.people = people

    def isatty(self):
        return self.people

    def readline(self):
        return self.answer


@pytest.mark.parametrize(
    ("answer", "flags", "code"),
    [("y\n", (), 0), ("\n", (), 1), ("n\n", (), 1), ("", (), 1), ("no\n", ("--yes",), 0)],
)
def test_all_keys_of_a_tenant_go_after_a_question(world, chat, data, monkeypatch, answer, flags, code):
    chat(mode="Keys")
    made(world), made(world), made(world, tenant="globex")
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert world.run("key", "revoke", "chat", "--tenant", "acme", *flags)[0] == code
    assert len(data()) == (1 if code == 0 else 3)


def test_nobody_to_ask_is_refused_with_the_flag(world, chat, data, monkeypatch):
    chat(mode="Keys")
    made(world)
    monkeypatch.setattr("sys.stdin", Terminal("y\n", people=False))
    code, _, err = world.run("key", "revoke", "chat", "--tenant", "acme")
    assert code == 2
    assert "--yes" in err
    assert len(data()) == 1


class Overtaken(Delegating):
    """A cluster in which somebody else is quicker, as often as `steps` says."""

    def __init__(self, inner, steps):
        super().__init__(inner)
        self.steps = list(steps)

    async def patch(self, ref, operations):
        if self.steps:
            await self.steps.pop(0)()
        return await self._inner.patch(ref, operations)


async def count_of(world):
    return len((await world.user.get(CONFIG_MAP)).get("data", {}))


async def test_many_who_make_keys_at_once_lose_none(world, serving_facts, capsys):
    await world.serving(spec=spec_with(serving_facts[2], mode="Keys"))

    async def one(number):
        async with world.connect_as("team-a") as connection:
            await create.command(connection, create.CreateOptions("chat", "acme", output="key"))

    await asyncio.gather(*(one(number) for number in range(4)))
    assert await count_of(world) == 4
    keys = capsys.readouterr().out.split()
    live = await world.user.get(CONFIG_MAP)
    assert {parse(key).id for key in keys} == live["data"].keys()


async def test_a_change_that_is_overtaken_is_worked_out_again(world, serving_facts, capsys):
    await world.serving(spec=spec_with(serving_facts[2], mode="Keys"))
    other = ident(1)

    async def first_key():
        await world.user.merge_patch(CONFIG_MAP, {"data": {other: entry().model_dump_json()}})

    async def last_key_goes():
        await world.user.merge_patch(CONFIG_MAP, {"data": {other: None}})

    async def changed_note():
        await world.user.merge_patch(CONFIG_MAP, {"data": {other: entry(note="later").model_dump_json()}})

    world.client = Overtaken(world.client, [first_key])
    async with world.connect_as("team-a") as connection:
        await create.command(connection, create.CreateOptions("chat", "acme", output="key"))
        assert await count_of(world) == 2
        world.client.steps = [changed_note]
        await rotate.command(connection, rotate.RotateOptions("chat", other, output="key"))
        live = (await world.user.get(CONFIG_MAP))["data"]
        assert len(live) == 3
        assert KeyEntry.model_validate_json(live[other]).note == "later"
        world.client.steps = [last_key_goes]
        await revoke.command(connection, revoke.RevokeOptions("chat", (other,)))
    assert await count_of(world) == 2


async def test_a_change_that_is_overtaken_all_the_time_ends(world, serving_facts):
    await world.serving(spec=spec_with(serving_facts[2], mode="Keys"))

    async def again():
        await world.user.merge_patch(CONFIG_MAP, {"metadata": {"labels": {"n": str(len(world.client.steps))}}})

    world.client = Overtaken(world.client, [again] * 99)
    async with world.connect_as("team-a") as connection:
        with pytest.raises(ClusterError, match="all the time"):
            await create.command(connection, create.CreateOptions("chat", "acme"))
    assert await count_of(world) == 0
