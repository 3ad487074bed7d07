"""Keys of a local run: one for each tenant, as the door reads them, and gone afterwards."""

from pathlib import Path

import pytest

from llama_operator.cli.run.tenant_keys import keys_for
from llama_operator.errors import LlamaOperatorError
from llama_serving.contract.keys import KeyEntry, is_key_of, parse


def counted():
    number = iter(range(100))
    return lambda length: bytes([next(number)] * length)


def test_each_tenant_has_a_key_that_the_folder_knows():
    with keys_for(["acme", "beta", "acme"], counted()) as keys:
        assert [tenant for tenant, _ in keys.by_tenant] == ["acme", "beta"]
        for tenant, key in keys.by_tenant:
            entry = KeyEntry.model_validate_json((Path(keys.folder) / key.id).read_text())
            assert entry.tenant == tenant
            assert is_key_of(parse(key.text), entry)
    assert not Path(keys.folder).exists()


def test_without_tenants_there_is_no_folder():
    with keys_for([], counted()) as keys:
        assert (keys.folder, keys.by_tenant) == ("", ())


def test_a_name_that_no_tenant_can_have_is_refused():
    with pytest.raises(LlamaOperatorError, match="--tenant A!: is no name"), keys_for(["A!"], counted()):
        pass
