"""Lines of the views, from what the API server and the operator write."""

import json

from gameday import views
from gameday.incident import View
from gameday.trail import DEPLOYMENTS, EVENTS, Version


def deployment(moment, *conditions, name="chat"):
    return Version(moment, DEPLOYMENTS, {"metadata": {"name": name}, "status": {"conditions": list(conditions)}})


def condition(status, reason, kind="Ready"):
    return {"type": kind, "status": status, "reason": reason, "message": "why"}


def test_a_condition_is_a_line_as_often_as_it_changes():
    versions = [
        deployment(10, condition("True", "Serving")),
        deployment(12, condition("True", "Serving"), condition("True", "Kept", "ObjectsKept")),
        deployment(13, condition("False", "NodesLost"), name="neighbor"),
        deployment(15, condition("False", "NodesLost")),
        Version(16, DEPLOYMENTS, {"metadata": {"name": "chat"}}),
    ]
    lines = list(views.conditions(versions, 11, "chat"))
    assert [(line.seconds, line.of, line.state, line.reason) for line in lines] == [
        (-1, "Ready", "True", "Serving"),
        (1, "ObjectsKept", "True", "Kept"),
        (4, "Ready", "False", "NodesLost"),
    ]


def test_an_event_is_a_line_if_it_is_about_the_deployment():
    def of(kind, name):
        content = {"regarding": {"kind": kind, "name": name}, "reason": "Ready", "type": "Normal", "note": "serves"}
        return Version(3, EVENTS, content)

    lines = list(
        views.events([of("LlamaDeployment", "chat"), of("Pod", "chat"), of("LlamaDeployment", "b")], 1, "chat")
    )
    assert [(line.seconds, line.of, line.state, line.text) for line in lines] == [(2, "Ready", "Normal", "serves")]


def test_a_line_of_the_log_is_read_after_the_mark_if_it_is_about_the_namespace_or_no_object(tmp_path):
    def line(namespace, level="info"):
        about = {"object": {"kind": "LlamaDeployment", "namespace": namespace, "name": "chat"}} if namespace else {}
        return json.dumps({"time": "1970-01-01T00:00:05.000+00:00", "level": level, "message": "started", **about})

    log = tmp_path / "log"
    record = json.dumps({"decision": "allowed"})
    log.write_text("\n".join([line("mine"), ""]))
    mark = log.stat().st_size
    with log.open("a") as stream:
        stream.write("\n".join([line("other"), record, line("mine", "warning"), line(""), "no JSON", "", "mine: text"]))
    lines = list(views.log_lines(log, mark, 3.0, "mine"))
    assert [(one.seconds, one.state, one.text) for one in lines] == [
        (2.0, "warning", "mine/chat: started"),
        (2.0, "info", "/: started"),
        (0.0, "", "mine: text"),
    ]


def test_a_check_has_its_hint_in_the_text():
    document = {"checks": [{"name": "engine", "state": "Failed", "evidence": "no", "unblock": "do"}]}
    (line,) = views.checks(View.EXPLAIN, 1, document)
    assert (line.of, line.state, line.text) == ("engine", "Failed", "no → do")


def test_a_column_is_found_by_its_heading_in_the_row_of_the_deployment():
    rows = [{"Name": "other", "Ready": "True"}, {"Name": "chat", "Ready": "False"}]
    assert [(line.of, line.text) for line in views.columns(1, rows, "chat")] == [("Name", "chat"), ("Ready", "False")]
