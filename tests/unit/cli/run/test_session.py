"""What a local run leaves out of a manifest: this machine has no volumes."""

import pytest

from llama_operator.cli.run.session import without_copy


@pytest.mark.parametrize(
    ("spec", "left"),
    [
        (
            {"weights": {"cache": {"mode": "Claim"}, "tokenSecret": {"name": "hf"}}},
            {"weights": {"tokenSecret": {"name": "hf"}}},
        ),
        ({"model": {"name": "tiny-random-llama"}}, {"model": {"name": "tiny-random-llama"}}),
    ],
)
def test_a_local_run_asks_for_no_claim(spec, left):
    assert without_copy({"kind": "LlamaDeployment", "spec": spec}) == {"kind": "LlamaDeployment", "spec": left}
