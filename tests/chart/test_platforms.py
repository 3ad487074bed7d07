"""The values of every platform's page: the real Helm takes them, and what it renders is valid and read by the operator."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from llama_operator.settings.options import load

pytestmark = pytest.mark.control_plane

PAGES = Path(__file__).resolve().parents[2] / "docs" / "platforms"
PLATFORMS = ["aks", "eks", "gke", "k3s", "on-premises", "openshift"]


def test_every_platform_has_a_page_with_its_values():
    assert sorted(path.name for path in PAGES.iterdir()) == sorted(
        f"{platform}{end}" for platform in PLATFORMS for end in (".md", ".values.yaml")
    )
    for platform in PLATFORMS:
        assert f"({platform}.values.yaml)" in (PAGES / f"{platform}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_its_values_render_what_is_valid_and_what_the_operator_takes(render, platform):
    values = yaml.safe_load((PAGES / f"{platform}.values.yaml").read_text(encoding="utf-8"))
    objects = render(values)
    for each in objects:
        if each["apiVersion"].startswith("monitoring.coreos.com/"):
            # Its definition is Prometheus Operator's.
            continue
        kubernetes_validate.validate(each, "1.37", strict=True)
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    variables = {one["name"]: one.get("value") or "filled-by-the-pod" for one in pod["containers"][0]["env"]}
    settings = load([], {name: value for name, value in variables.items() if name.startswith("LLAMA_OPERATOR_")})
    assert settings.serving_image == values["settings"]["servingImage"]
    written = values.get("podDefaults", {})
    read = settings.pod_defaults.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    assert set(read) == set(written)
    fixed = {"runAsUser", "runAsGroup", "fsGroup"} & set(pod["securityContext"])
    assert fixed == (set() if platform == "openshift" else {"runAsUser", "runAsGroup", "fsGroup"})
