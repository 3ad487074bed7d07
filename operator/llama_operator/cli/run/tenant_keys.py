"""API keys of a local run: one for each tenant of `--tenant`, as pods have them mounted. Called by `cli.run.command`."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llama_operator.cli.key.create import is_tenant
from llama_operator.errors import LlamaOperatorError
from llama_serving.contract.keys import RANDOM_BYTES, ApiKey, KeyEntry, make


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """The keys, and the folder with what the door keeps of them."""

    folder: str
    """Empty where nobody asked for keys: then the endpoint asks for none."""
    by_tenant: tuple[tuple[str, ApiKey], ...]


@contextmanager
def keys_for(tenants: Sequence[str], random_bytes: Callable[[int], bytes]) -> Iterator[TenantKeys]:
    """Make a key for each tenant; they are gone with the run.

    Args:
        tenants: Names of tenants; none for an endpoint without keys.
        random_bytes: Gives bytes that nobody can guess.

    Raises:
        LlamaOperatorError: If a name is none that a tenant can have.
    """
    if not tenants:
        yield TenantKeys("", ())
        return
    for tenant in tenants:
        if not is_tenant(tenant):
            allowed = "use 1 to 63 small letters, digits and -, with a letter or digit at both ends"
            raise LlamaOperatorError(f"--tenant {tenant}: is no name of a tenant; {allowed}")
    with tempfile.TemporaryDirectory(prefix="llama-keys-") as folder:
        made = tuple((tenant, make(random_bytes(RANDOM_BYTES))) for tenant in dict.fromkeys(tenants))
        for tenant, key in made:
            (Path(folder) / key.id).write_text(KeyEntry(tenant=tenant, sha256=key.sha256).model_dump_json())
        yield TenantKeys(folder, made)
