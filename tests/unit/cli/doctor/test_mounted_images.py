"""Whether `kubectl llama doctor` takes a cluster for one whose pods can mount weights from an image."""

import pytest

from llama_operator.cli.doctor.facts import NodeSummary
from llama_operator.cli.doctor.mounted_images import check
from llama_operator.cli.shared.checks import State
from llama_operator.cli.shared.connection import Unknown
from llama_operator.decide.platform import Platform


def nodes(*runtimes):
    return [NodeSummary(f"node-{number}", "", 0, runtime=runtime) for number, runtime in enumerate(runtimes)]


@pytest.mark.parametrize(
    ("server", "seen", "state", "told"),
    [
        ("v1.35.0", nodes("containerd://2.1.4", "cri-o://1.35.0"), State.PASSED, "mode Image"),
        ("v1.34.3", nodes("containerd://2.1.4"), State.ABSENT, "1.35 does"),
        ("v1.36.1", nodes("containerd://2.1.4", "containerd://1.7.24"), State.ABSENT, "node-1 (containerd://1.7.24)"),
        ("v1.36.1", nodes("cri-o://1.30.2"), State.ABSENT, "node-0"),
        ("v1.36.1", nodes("containerd://2.2.0", "gvisor://1.0.0"), State.UNKNOWN, "not known"),
        ("v1.36.1", nodes(""), State.UNKNOWN, "not known"),
        ("", nodes("containerd://2.1.4"), State.UNKNOWN, "not known"),
        ("v1.36.1", nodes(), State.UNKNOWN, "not known"),
        ("v1.36.1", Unknown("may not list nodes"), State.UNKNOWN, "may not list nodes"),
    ],
)
def test_server_and_runtimes_have_to_mount_images(server, seen, state, told):
    found = check(Platform(kubernetes=server), seen)
    assert (found.state, told in found.evidence) == (state, True)
