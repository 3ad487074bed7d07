"""A claim, a model, and the program that copies it."""

import pytest

from support.serving.weight_copies import Copier, model


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    return model(tmp_path_factory.mktemp("model") / "made")


@pytest.fixture
def copier(tmp_path):
    claim = tmp_path / "claim"
    # File systems have a folder of their own in their root.
    (claim / "lost+found").mkdir(parents=True, mode=0o700)
    made = Copier(claim, tmp_path)
    yield made
    made.stop()
