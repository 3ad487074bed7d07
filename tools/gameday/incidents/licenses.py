"""Licenses that end, or that were never accepted."""

from typing import Final

from gameday.incident import Incident, condition, event, explain
from gameday.stage import Stage

_SAMPLE: Final = "llama-3.3-70b-fp8-h100"
_ENDED: Final = "license-terminated"
_UNKNOWN: Final = "acceptance-unknown"


def _serves(stage: Stage) -> None:
    stage.nodes("h100-8", 1)
    stage.deploy(_SAMPLE, rollout={"drainSeconds": 5})
    stage.served()


def _terminate(stage: Stage) -> None:
    ended = {"spec": {"state": "Terminated", "terminatedOn": "2026-03-03"}}
    stage.plane.api.patch("licenseacceptances", stage.acceptance("llama-3.3"), ended)


def _nobody_accepted(stage: Stage) -> None:
    manifest = stage.manifest(_SAMPLE)
    manifest["spec"]["license"]["acceptance"] = "nobody"
    stage.plane.apply(manifest)


INCIDENTS: Final = (
    Incident(
        name=_ENDED,
        title="The acceptance of a license is terminated while its model serves",
        before=_serves,
        cause=_terminate,
        takes=frozenset({"h100-8"}),
        reasons=("AcceptanceTerminated",),
        says=(
            condition("LicenseAccepted", "False", "AcceptanceTerminated"),
            condition("Ready", "False", "AcceptanceTerminated"),
            condition("EndpointReady", "False"),
            event("LicenseEnded", has=("have to be deleted",)),
            explain("license", "Failed", lacks=("there are:",)),
        ),
    ),
    Incident(
        name=_UNKNOWN,
        title="A deployment names an acceptance that does not exist",
        cause=_nobody_accepted,
        reasons=("AcceptanceNotFound",),
        says=(
            condition("Ready", "False", "AcceptanceNotFound", has=("nobody",)),
            condition("Stalled", "True"),
            event("Blocked", has=("nobody",)),
            explain("license", "Failed", has=(f"day-{_UNKNOWN}-llama-3-3",), lacks=(f"day-{_UNKNOWN}-llama-3-1",)),
        ),
        sampled=True,
    ),
)
