"""The program that nodes start in place of HAProxy."""

import os
import subprocess
import sys

from llama_serving.contract import haproxy
from llama_serving.contract.door import DOOR_VARIABLE, Access, DoorSettings
from llama_serving.contract.routing import LAUNCHER_VARIABLE, ROUTING_VARIABLE, Routing
from llama_serving.routing import launcher


def test_it_becomes_haproxy_with_all_arguments(tmp_path):
    (variable,) = haproxy.launcher(tmp_path, sys.executable).items()
    assert variable[0] == LAUNCHER_VARIABLE
    environment = (
        os.environ
        | {"PYTHONPATH": os.pathsep.join(sys.path), ROUTING_VARIABLE: Routing.PREFIX_AWARE}
        | dict([variable])
    )
    said = subprocess.run([variable[1], "-v"], env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.startswith("HAProxy version")
    assert said.stderr == ""


def test_it_imports_little_because_haproxy_waits_for_it():
    program = "import sys, llama_serving.routing.launcher; print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert not {"pydantic", "ray", "vllm", "starlette"} & set(said.stdout.split())


def test_it_reads_the_folder_of_the_keys_from_the_settings_of_the_door(monkeypatch):
    assert launcher._DOOR_VARIABLE == DOOR_VARIABLE
    keys = DoorSettings(access=Access.KEYS, keys_folder="/etc/llama/keys", model_id="m")
    for settings, folder in ((keys, "/etc/llama/keys"), (keys.model_copy(update={"access": Access.OPEN}), None)):
        monkeypatch.setenv(DOOR_VARIABLE, settings.model_dump_json(exclude_none=True))
        assert launcher._keys_folder(os.environ) == folder
    monkeypatch.delenv(DOOR_VARIABLE)
    assert launcher._keys_folder(os.environ) is None
