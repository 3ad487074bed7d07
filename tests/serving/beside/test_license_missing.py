"""An engine that is refused for want of license files; `test_license` and its neighbours have the same folder with them."""

import pytest

from llama_serving.config import ModelSource

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]


@pytest.fixture
def refused(deploy, config, equipped, weights, eventually):
    """What Ray says of the deployment while the license file is not there."""
    license_file = weights / "LICENSE.txt"
    aside = license_file.rename(weights.parent / "aside")
    try:
        # Another seed makes it another revision: Serve would not start the same one again.
        changes = {name: getattr(equipped, name) for name in ("license", "contents")}
        changes["source"] = ModelSource(kind="Path", location=str(weights))
        here = deploy(config(seed=1).model_copy(update=changes), wait=False)
        return eventually(
            lambda: found if (found := here.cluster.application()).get("status") == "DEPLOY_FAILED" else None,
            seconds=600,
            what="the deployment to be refused",
        )
    finally:
        aside.rename(license_file)


def test_without_a_license_file_no_engine_starts_and_the_message_says_why(refused, equipped, weights):
    messages = " ".join([refused["message"], *(part["message"] for part in refused["deployments"].values())])

    assert (
        f"LicenseFilesMissing: {equipped.model_id} was not started: its folder {weights} has no readable LICENSE*"
        in messages
    )
    assert "servedLicenseFiles: Required" in messages
    # The operator keeps the end of a long message.
    assert "then set spec.rollout.restartedAt" in messages[-1024:]
