"""One application for what a deployment may have beside its model: a license with texts, room for adapters, and a guard.

Each of them would need engines of its own otherwise. They do not meet: the guard holds nothing in mode `Log`, and the list of adapters
is live.
"""

import pytest

from llama_serving.config import LicenseDuties, LicenseFamilyDuties, ModelSource
from llama_serving.contract.adapters import AdapterRoom
from llama_serving.contract.contents import DeclaredContents
from llama_serving.contract.weights import CopyOutcome
from llama_serving.generated import adapter, checkpoint
from llama_serving.licenses.text import text_hash
from support.model_hub import Repository, serving
from support.serving.weight_copies import NAME, Copier

DUTIES = LicenseDuties(
    tier="CommunityLlama31Plus",
    families=(
        LicenseFamilyDuties(
            id="llama-3.3",
            title="Llama 3.3 Community License",
            attribution="Built with Llama",
            name_prefix="Llama",
            output_use="AllowedWithName",
        ),
    ),
    required_files=("License",),
)
DECLARED = DeclaredContents(
    declared_by="LlamaModel tiny",
    architectures=("LlamaForCausalLM",),
    model_types=("llama",),
    sizes={"num_hidden_layers": (2,), "hidden_size": (256,), "intermediate_size": (512,), "num_key_value_heads": (4,)},
    vocab_size=512,
)
"""So that the engine of these tests is one that has looked at its folder, before and after."""
LICENSE = "The agreement, as it came with the weights.\n"
OF_GUARD = DUTIES.model_copy(update={"required_files": ()})


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """The generated checkpoint as somebody's folder on a volume, with its texts."""
    folder = checkpoint.ensure(tmp_path_factory.mktemp("weights") / "model")
    (folder / "LICENSE.txt").write_text(LICENSE)
    (folder / "USE_POLICY.md").write_text("The policy.\n")
    return folder


@pytest.fixture(scope="session")
def hub_of_weights(weights):
    """The Hub with these weights."""
    files = {path.name: path.read_bytes() for path in weights.iterdir()}
    return Repository(NAME, files)


@pytest.fixture(scope="session")
def copied(tmp_path_factory, hub_of_weights):
    """A verified copy of them, which all engines here start from, offline, while the Hub that they came from is gone."""
    folder = tmp_path_factory.mktemp("copy")
    copier = Copier(folder / "claim", folder)
    copier.claim.mkdir()
    with serving(hub_of_weights) as endpoint:
        request = copier.request(endpoint, files={"LICENSE.txt": text_hash(LICENSE)})
        ended = copier.run(request)
        assert ended.verdict.verdict is CopyOutcome.VERIFIED, ended.log
    return copier.copy


@pytest.fixture(scope="session")
def volume(tmp_path_factory):
    """The volume with the adapters."""
    folder = tmp_path_factory.mktemp("adapters")
    adapter.write(folder / "a", seed=1)
    adapter.write(folder / "b", seed=2)
    adapter.write(folder / "large", seed=3, rank=16)
    return folder


@pytest.fixture(scope="session")
def of_all(keys):
    """A key for all names; it is made before the replicas are, so that each server knows it."""
    return keys.add("acme")


@pytest.fixture(scope="session")
def of_a(keys):
    """A key for one adapter."""
    return keys.add("acme", models=("Llama-Acme-A",))


@pytest.fixture(scope="session")
def equipped(config, copied, volume, of_all, of_a):
    """Its config; the guard is another model, with texts of its own."""
    room = AdapterRoom(max_loras=2, max_lora_rank=8, max_cpu_loras=3, folder=str(volume))
    made = config(guard=True, adapters=room)
    source = ModelSource(kind="Path", location=str(copied))
    guard = made.guard.model_copy(update={"model_id": "tiny-guard", "source": source, "license": OF_GUARD})
    return made.model_copy(update={"source": source, "license": DUTIES, "contents": DECLARED, "guard": guard})
