import pytest

from llama_serving.contract.door import Access
from support.serving.doors import FIRST, Asked, write


@pytest.fixture
def ask(tmp_path):
    """A door that asks for keys, and one key that it knows: `FIRST`."""
    write(tmp_path / "keys", FIRST)
    return Asked(tmp_path / "keys")


@pytest.fixture
def ask_open(tmp_path):
    """A door that asks for no key."""
    return Asked(tmp_path / "keys", access=Access.OPEN)
