"""Access, tenants and path of a spec, as Ray pods and Serve get them."""

import json

import pytest
import yaml

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import objects, serve_config
from llama_operator.observe import children
from llama_serving.config import LiveSettings, ServingConfig
from llama_serving.contract.door import DOOR_CALLBACK, DOOR_VARIABLE, KEYS_FOLDER, DoorSettings
from llama_serving.contract.scaling import ScalingKnobs
from llama_serving.contract.tenants import STORE_FOLDER, DeskSettings

KNOWN = catalog.load()
PRODUCTION = {"license": {"purpose": "Production"}}
DIRECT = {"endpoint": {"path": "Direct"}}
CONFIG_MAP = {"configMap": {"name": "chat-keys", "optional": True, "defaultMode": 0o444}}
SECRET = {"secret": {"secretName": "acme", "optional": True, "defaultMode": 0o444}}


def built(settings=Settings(), **spec):  # noqa: B008 - frozen
    tiny = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}}
    obj = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a", "uid": "u-1"},
        "spec": tiny | spec,
    }
    observed = Observed(parse(json.loads(json.dumps(obj))), acceptances=None)
    made = objects.build(observed, decide(observed, KNOWN), settings).apply
    return {obj["kind"]: obj for obj in made}


def pods(made):
    cluster = made["RayService"]["spec"]["rayClusterConfig"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def environment(pod):
    return {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}


def served(made):
    return yaml.safe_load(made["RayService"]["spec"]["serveConfigV2"])["applications"]


@pytest.mark.parametrize(
    ("spec", "access", "volume"),
    [
        ({}, "Open", None),
        (PRODUCTION, "Keys", CONFIG_MAP),
        ({"license": {"purpose": "NonCommercialResearch"}}, "Open", None),
        (PRODUCTION | {"access": {"mode": "Open"}}, "Open", None),
        ({"access": {"mode": "Keys"}}, "Keys", CONFIG_MAP),
        ({"access": {"mode": "Keys", "keys": {"configMap": "chat-keys"}}}, "Keys", CONFIG_MAP),
        ({"access": {"mode": "Keys", "keys": {"secret": "acme"}}}, "Keys", SECRET),
        (PRODUCTION | {"access": {"keys": {"secret": "acme"}}}, "Keys", SECRET),
        # Named for the day on which the purpose becomes Production.
        ({"access": {"keys": {"secret": "acme"}}}, "Open", None),
    ],
)
def test_every_pod_gets_the_door_and_the_folder_of_keys(spec, access, volume):
    for pod in pods(built(**spec)):
        variables = environment(pod)
        door = DoorSettings.model_validate_json(variables[DOOR_VARIABLE])
        assert door.access == access
        assert variables["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] == DOOR_CALLBACK
        mounts = {each["mountPath"]: each for each in pod["containers"][0]["volumeMounts"]}
        assert (KEYS_FOLDER in mounts) is (volume is not None)
        assert door.keys_folder == (None if volume is None else KEYS_FOLDER)
        if volume is not None:
            assert mounts[KEYS_FOLDER] == {"name": "api-keys", "mountPath": KEYS_FOLDER, "readOnly": True}
            assert {"name": "api-keys", **volume} in pod["volumes"]


def test_config_and_environment_say_the_same_door():
    made = built(access={"mode": "Keys", "maxBodyMiB": 3})
    config = ServingConfig.model_validate(served(made)[0]["args"])
    assert config.door.max_body_bytes == 3 * 1024**2
    assert DoorSettings.model_validate_json(environment(pods(made)[0])[DOOR_VARIABLE]) == config.door


def test_on_one_machine_no_key_is_asked_for():
    made = built(Settings(local=True), access={"mode": "Keys"})
    for pod in pods(made):
        assert json.loads(environment(pod)[DOOR_VARIABLE])["access"] == "Open"
        assert all(mount["mountPath"] != KEYS_FOLDER for mount in pod["containers"][0]["volumeMounts"])


def test_a_local_run_with_a_folder_of_keys_asks_for_them():
    made = built(Settings(local=True, keys_path="/tmp/keys"))
    for pod in pods(made):
        door = DoorSettings.model_validate_json(environment(pod)[DOOR_VARIABLE])
        assert (door.access, door.keys_folder) == ("Keys", "/tmp/keys")
        assert all(mount["mountPath"] != KEYS_FOLDER for mount in pod["containers"][0]["volumeMounts"])


def test_aliases_are_live_and_go_to_engines_and_board():
    plain, named = built(), built(endpoint={"aliases": ["Llama-chat"]})
    assert plain["ControllerRevision"]["metadata"]["name"] == named["ControllerRevision"]["metadata"]["name"]
    engines, board = served(named)
    assert engines["args"] == served(plain)[0]["args"]
    assert DeskSettings.model_validate(engines["deployments"][0]["user_config"]).aliases == ("Llama-chat",)
    (told,) = board["deployments"]
    assert (told["name"], DeskSettings.model_validate(told["user_config"]).aliases) == ("Board", ("Llama-chat",))
    assert "deployments" not in served(plain)[1]


def test_only_workers_have_the_chat_template_and_the_engine_reads_it_there():
    made = built(
        model={"name": "tiny-random-llama", "chatTemplate": {"configMap": "acme-templates", "key": "short.jinja"}}
    )
    head, worker = pods(made)
    (mount,) = [each for each in worker["containers"][0]["volumeMounts"] if each["name"] == "chat-template"]
    (volume,) = [each for each in worker["volumes"] if each["name"] == "chat-template"]
    items = [{"key": "short.jinja", "path": "chat_template.jinja"}]
    assert volume["configMap"] == {"name": "acme-templates", "items": items, "defaultMode": 0o444}
    assert served(made)[0]["args"]["engine"]["chat_template"] == f"{mount['mountPath']}/chat_template.jinja"
    assert all(each["name"] != "chat-template" for each in head["volumes"])
    assert "chat_template" not in served(built())[0]["args"]["engine"]


def test_images_are_fetched_only_from_hosts_that_are_named():
    assert "VLLM_MEDIA_URL_ALLOW_REDIRECTS" not in environment(pods(built())[1])
    assert "allowed_media_domains" not in served(built())[0]["args"]["engine"]
    made = built(access={"mediaDomains": ["images.acme.example"]})
    assert served(made)[0]["args"]["engine"]["allowed_media_domains"] == ["images.acme.example"]
    assert environment(pods(made)[1])["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"


def test_only_the_direct_path_has_haproxy_a_board_and_a_desk():
    direct, ingress = built(**DIRECT), built(endpoint={"path": "Ingress"})
    (engines, board), (before,) = served(direct), served(ingress)
    assert (engines["name"], engines["route_prefix"]) == (before["name"], before["route_prefix"]) == ("llama", "/")
    assert (board["name"], board["route_prefix"]) == ("llama-board", "/llama")
    assert board["import_path"] == "llama_serving.app:build_board"
    assert board["args"] == engines["args"]
    assert (engines["args"]["path"], before["args"]["path"]) == ("Direct", "Ingress")
    (desk,), (no_desk,) = engines["deployments"], before["deployments"]
    assert DeskSettings.model_validate(desk["user_config"]) == DeskSettings(scaling=BALANCED)
    assert (desk["max_ongoing_requests"], desk["max_queued_requests"]) == (100_000, -1)
    assert DeskSettings.model_validate(no_desk["user_config"]) == DeskSettings(scaling=BALANCED)
    assert desk["autoscaling_config"] == no_desk["autoscaling_config"]
    added = [
        {name: value for name, value in environment(after).items() if name not in environment(pod)}
        for after, pod in zip(pods(direct), pods(ingress), strict=True)
    ]
    assert added == 2 * [
        {
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
            "REPORTER_UPDATE_INTERVAL_MS": "15000",
            "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "4250",
            "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "120",
            "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "1860",
            "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        }
    ]


def test_the_longest_stream_outlives_a_reload_of_haproxy_and_so_does_one_that_begins_later_on_its_connection():
    made = built(**DIRECT)
    config = yaml.safe_load(made["RayService"]["spec"]["serveConfigV2"])
    stop = int(environment(pods(made)[0])["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"])
    longest, kept = (config["http_options"][name] for name in ("request_timeout_s", "keep_alive_timeout_s"))
    assert stop >= longest + kept + longest


@pytest.mark.parametrize(("path", "seconds", "least"), [("Direct", 0, 35), ("Direct", 90, 90), ("Ingress", 0, 0)])
def test_a_replica_that_listens_itself_ends_when_haproxy_knows(path, seconds, least):
    _, worker = pods(built(endpoint={"path": path}, rollout={"drainSeconds": seconds}))
    assert int(environment(worker)["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"]) == least
    assert worker["terminationGracePeriodSeconds"] == least + 30


BALANCED = ScalingKnobs(price=20)
LIVE = LiveSettings(min_replicas=0, max_replicas=3, target_queue_depth=4, max_ongoing_requests=5, max_queued_requests=6)


def test_a_record_has_the_engines_only_so_that_an_older_operator_reads_it():
    record = built(**DIRECT)["ControllerRevision"]
    (application,) = record["data"]["serveConfig"]["applications"]
    assert application["name"] == "llama"
    facts = children.readable_revision(record)
    assert [one["name"] for one in serve_config.with_live(facts.serve_config, LIVE)["applications"]] == [
        "llama",
        "llama-board",
    ]


@pytest.mark.parametrize("first", ["engines", "another"])
def test_the_engines_are_found_by_name_wherever_they_stand(first):
    facts = children.readable_revision(built()["ControllerRevision"])
    another = {"name": "another", "route_prefix": "/x", "import_path": "a:b", "args": {}, "deployments": []}
    (engines,) = facts.serve_config["applications"]
    both = [engines, another] if first == "engines" else [another, engines]
    changed = serve_config.with_live({**facts.serve_config, "applications": both}, LIVE)["applications"]
    by_name = {one["name"]: one for one in changed}
    assert by_name["another"] == another
    assert by_name["llama"]["deployments"][0]["autoscaling_config"]["max_replicas"] == 3


def test_live_settings_without_a_desk_keep_the_one_that_was_pinned():
    """As an older operator would change them: to take the desk away would restart the engines."""
    facts = children.readable_revision(built(**DIRECT)["ControllerRevision"])
    (engines, _) = serve_config.with_live(facts.serve_config, LIVE)["applications"]
    assert DeskSettings.model_validate(engines["deployments"][0]["user_config"]) == DeskSettings()


def test_what_serves_is_annotated_with_no_limits_where_it_has_no_desk():
    live = json.loads(
        built(endpoint={"path": "Ingress"})["ControllerRevision"]["metadata"]["annotations"][
            "llama-operator.io/live-settings"
        ]
    )
    assert live["desk"] == DeskSettings(scaling=BALANCED).model_dump(mode="json", exclude_none=True)


@pytest.mark.parametrize(
    ("store", "expected", "mounted"),
    [
        ({"address": "valkey.data.svc:6379"}, {"tls": True}, None),
        (
            {"address": "valkey.data.svc:6379", "tls": "Disabled", "secret": "acme-store"},
            {"folder": STORE_FOLDER},
            "acme-store",
        ),
    ],
)
def test_a_store_of_usage_reaches_the_replicas_by_its_address_and_the_name_of_its_secret(store, expected, mounted):
    made = built(**DIRECT, usageStore=store)
    config = ServingConfig.model_validate(served(made)[0]["args"])
    assert config.store.model_dump(exclude_defaults=True) == expected | {"address": store["address"], "scope": "team-a"}
    volume = {"name": "usage-store", "secret": {"secretName": mounted, "optional": True, "defaultMode": 0o444}}
    for pod in pods(made):
        assert [each for each in pod["volumes"] if each["name"] == "usage-store"] == ([volume] if mounted else [])
        mounts = {each["mountPath"]: each for each in pod["containers"][0]["volumeMounts"]}
        assert (STORE_FOLDER in mounts) is (mounted is not None)


def test_on_one_machine_the_ledger_stays_there():
    store = {"address": "valkey.data.svc:6379", "secret": "acme-store"}
    made = built(Settings(local=True), **DIRECT, usageStore=store)
    assert "store" not in served(made)[0]["args"]
