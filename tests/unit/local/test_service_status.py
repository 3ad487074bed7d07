from datetime import UTC, datetime, timedelta

from llama_operator.local.dashboard import ApplicationState, DeploymentState
from llama_operator.local.service_status import Observation, invalid_status, next_status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def app(status, message=""):
    deployment = DeploymentState("Hello", "HEALTHY", "", 1, {"RUNNING": 1})
    return ApplicationState("llama", status, message, (deployment,))


def seen(*applications, healthy=False, trouble="", generation=1):
    return Observation(generation, "chat-abc01", applications, healthy, trouble)


def ready(status):
    return next((c["status"], c["reason"]) for c in status["conditions"] if c["type"] == "Ready")


def test_a_new_service_is_initializing_with_a_pending_cluster():
    status = next_status({}, seen(), now=NOW)
    assert ready(status) == ("False", "Initializing")
    assert status["pendingServiceStatus"] == {"rayClusterName": "chat-abc01", "applicationStatuses": {}}
    assert status["activeServiceStatus"] == {}
    assert status["numServeEndpoints"] == 0


def test_a_healthy_proxy_is_no_endpoint_before_all_applications_run():
    status = next_status({}, seen(app("RUNNING"), app("DEPLOYING"), healthy=True), now=NOW)
    assert ready(status) == ("False", "Initializing")


def test_the_cluster_becomes_active_when_all_applications_run():
    status = next_status(next_status({}, seen(), now=NOW), seen(app("RUNNING"), healthy=True), now=LATER)
    assert ready(status) == ("True", "NonZeroServeEndpoints")
    assert status["numServeEndpoints"] == 1
    assert status["pendingServiceStatus"] == {}
    assert status["activeServiceStatus"] == {
        "rayClusterName": "chat-abc01",
        "applicationStatuses": {
            "llama": {
                "status": "RUNNING",
                "message": "",
                "serveDeploymentStatuses": {"Hello": {"status": "HEALTHY", "message": ""}},
            }
        },
    }


def test_ready_stays_when_an_application_fails_later_as_with_kuberay():
    serving = next_status({}, seen(app("RUNNING"), healthy=True), now=NOW)
    status = next_status(serving, seen(app("UNHEALTHY", "boom"), healthy=True), now=LATER)
    assert ready(status) == ("True", "NonZeroServeEndpoints")
    assert status["activeServiceStatus"]["applicationStatuses"]["llama"]["message"] == "boom"


def test_losing_the_endpoint_is_told_with_its_cause_and_stays_told():
    serving = next_status({}, seen(app("RUNNING"), healthy=True), now=NOW)
    dead = next_status(serving, seen(trouble="Ray ended"), now=LATER)
    still = next_status(dead, seen(), now=LATER)
    assert ready(dead) == ready(still) == ("False", "ZeroServeEndpoints")
    assert dead["conditions"][0]["message"] == "Ray ended"
    assert dead["activeServiceStatus"]["rayClusterName"] == "chat-abc01"


def test_transition_times_move_only_when_the_status_of_a_condition_does():
    first = next_status({}, seen(), now=NOW)
    second = next_status(first, seen(trouble="no luck"), now=LATER)
    third = next_status(second, seen(app("RUNNING"), healthy=True), now=LATER)
    times = [status["conditions"][0]["lastTransitionTime"] for status in (first, second, third)]
    assert times == ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"]


def test_the_same_observation_changes_nothing():
    first = next_status({}, seen(app("RUNNING"), healthy=True), now=NOW)
    assert next_status(first, seen(app("RUNNING"), healthy=True), now=LATER) == first


def test_an_invalid_manifest_keeps_the_last_observed_generation():
    serving = next_status({}, seen(app("RUNNING"), healthy=True), now=NOW)
    status = invalid_status(serving, "not YAML", generation=2, now=LATER)
    assert ready(status) == ("False", "ValidationFailed")
    assert status["observedGeneration"] == 1
