"""Log lines: machines read one JSON object each, and every line of a pass can be found by its id."""

import io
import json
import logging

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.settings.operator import LogFormat, LogLevel
from llama_operator.status.events import EventFacts
from llama_operator.telemetry import logs
from llama_operator.telemetry.context import CURRENT_PASS, PassContext

CHAT = Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat")


@pytest.fixture
def lines():
    """Configures the logs of the process for one test; returns what was written."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()

    def configure(log_format=LogFormat.AUTO, level=LogLevel.INFO):
        logs.configure(log_format, level, stream)
        return stream

    yield configure
    root.handlers[:], root.level = before


@pytest.fixture
def running_pass():
    token = CURRENT_PASS.set(PassContext(CHAT, "1f2e3d4c"))
    yield
    CURRENT_PASS.reset(token)


def test_a_line_of_a_pass_names_the_object_and_the_pass(lines, running_pass):
    stream = lines()
    logging.getLogger("llama_operator.reconcile.deployment").warning("no answer from %s", "chat")
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "message": "no answer from chat",
        "logger": "llama_operator.reconcile.deployment",
        "object": {"kind": "LlamaDeployment", "namespace": "team-a", "name": "chat"},
        "reconcileId": "1f2e3d4c",
    }


def test_an_error_carries_its_trace_in_the_same_line(lines):
    stream = lines()
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("llama_operator").exception("failed")
    assert "ZeroDivisionError: division by zero" in json.loads(stream.getvalue())["error"]


def test_objects_that_kopf_names_are_kept(lines):
    stream = lines()
    ref = {"apiVersion": "v1", "kind": "Node", "name": "n1", "namespace": None, "uid": "u"}
    logging.getLogger("kopf.objects").warning("odd", extra={"k8s_ref": ref})
    assert json.loads(stream.getvalue())["object"] == {"kind": "Node", "namespace": "", "name": "n1"}


def test_the_routine_of_libraries_is_not_told(lines):
    stream = lines()
    for name in ("kopf.objects", "kopf._core.reactor.running", "aiohttp.access", "asyncio"):
        logging.getLogger(name).info("routine")
    assert stream.getvalue() == ""


def test_people_get_text(lines, running_pass):
    stream = lines(LogFormat.TEXT)
    logging.getLogger("llama_operator").info("serves")
    assert stream.getvalue().endswith("INFO    team-a/chat: serves\n")


def test_the_level_holds(lines):
    stream = lines(level=LogLevel.ERROR)
    logging.getLogger("llama_operator").warning("less important")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("kind", "level"), [("Normal", "info"), ("Warning", "warning")])
def test_a_deed_has_the_shape_of_its_event(lines, running_pass, kind, level):
    stream = lines()
    logs.deed(EventFacts(kind, "TrafficMoved", "MoveTraffic", "from chat-1 to chat-2"))
    line = json.loads(stream.getvalue())
    assert line.pop("time")
    assert line == {
        "level": level,
        "message": "TrafficMoved: from chat-1 to chat-2",
        "logger": "llama_operator.events",
        "object": {"kind": "LlamaDeployment", "namespace": "team-a", "name": "chat"},
        "reconcileId": "1f2e3d4c",
        "event": {"reason": "TrafficMoved", "action": "MoveTraffic"},
    }
