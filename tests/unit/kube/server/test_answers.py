"""What an answer of a server means."""

import pytest

from llama_operator.kube.port import (
    ConflictError,
    ExpiredError,
    FieldConflictError,
    ForbiddenError,
    InvalidError,
    KubeError,
    NotFoundError,
    Right,
    UnavailableError,
    WebhookFailedError,
)
from llama_operator.kube.server import answers

DENIED = (
    'rayservices.ray.io "chat-1" is forbidden: User "system:serviceaccount:llama-operator:llama-operator" cannot patch'
    ' resource "rayservices" in API group "ray.io" in the namespace "team-a"'
)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidError),
        (401, ForbiddenError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, ExpiredError),
        (413, InvalidError),
        (422, InvalidError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
        (504, UnavailableError),
        (418, KubeError),
    ],
)
def test_a_status_is_an_error_of_the_port_with_the_servers_words(status, kind):
    error = answers.error(status, {"message": "spec.x: no"}, "apply of Service team-a/web")
    assert type(error) is kind
    assert "apply of Service team-a/web" in str(error)
    assert "spec.x: no" in str(error)


def test_a_missing_right_is_named():
    details = {"name": "chat-1", "group": "ray.io", "kind": "rayservices"}
    error = answers.error(403, {"message": DENIED, "details": details}, "apply of RayService team-a/chat-1")
    assert "Missing right: verb `patch` on `rayservices` in API group ray.io" in str(error)
    user = "system:serviceaccount:llama-operator:llama-operator"
    assert error.missing == Right(user, "patch", "rayservices", "ray.io", "", "team-a", "chat-1")
    assert error.missing.target == "rayservices.ray.io"


def test_a_missing_right_on_a_subresource_in_the_core_group_names_both():
    message = 'User "jo" cannot get resource "pods/log" in API group ""'
    missing = answers.error(403, {"message": message}, "read").missing
    assert missing == Right("jo", "get", "pods", "", "log")
    assert missing.target == "pods"


def test_another_prohibition_is_told_as_it_is():
    message = 'pods "a" is forbidden: exceeded quota: compute'
    error = answers.error(403, {"message": message}, "apply")
    assert str(error) == f"apply: {message}"
    assert error.missing is None


def test_credentials_that_are_not_accepted_say_what_to_do():
    assert "renew or replace them" in str(answers.error(401, {"message": "Unauthorized"}, "list of Node"))


def test_an_answer_without_a_body_still_says_its_status():
    assert "502" in str(answers.error(502, {}, "list of Node"))


def test_an_object_that_does_not_fit_its_schema_is_invalid_though_the_server_says_500():
    message = (
        "failed to create typed patch object (a/b; v1, Kind=Service): .spec.surprise: field not declared in schema"
    )
    assert isinstance(answers.error(500, {"message": message}, "apply"), InvalidError)


def test_a_conflict_of_owners_is_told_from_a_lost_race():
    causes = [{"reason": "FieldManagerConflict", "field": ".spec.replicas"}]
    assert answers.is_field_conflict({"details": {"causes": causes}})
    assert not answers.is_field_conflict({"reason": "Conflict", "details": {"name": "a"}})
    assert not answers.is_field_conflict({})
    assert type(answers.error(409, {"details": {"causes": causes}}, "apply")) is FieldConflictError
    assert type(answers.error(409, {"reason": "Conflict", "details": {"name": "a"}}, "apply")) is ConflictError


def test_a_namespace_that_is_being_deleted_is_told_from_other_refusals():
    causes = [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]
    assert answers.error(403, {"message": "no", "details": {"causes": causes}}, "apply").ending
    assert not answers.error(403, {"message": "exceeded quota: q"}, "apply").ending


def test_a_webhook_that_does_not_answer_is_told_from_a_server_that_does_not():
    failed = {"message": 'Internal error occurred: failed calling webhook "x": connection refused'}
    assert type(answers.error(500, failed, "apply")) is WebhookFailedError
