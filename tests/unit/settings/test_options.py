"""Settings: where they come from, what is refused, and that what users read is complete."""

from dataclasses import asdict

import pytest

from generate.process_reference import settings as reference
from llama_operator import __version__
from llama_operator.decide.observed import Settings
from llama_operator.settings.operator import LogLevel, OperatorSettings, ServingStatusSource
from llama_operator.settings.options import SettingsError, build_parser, load, options


def test_without_anything_the_defaults_hold():
    assert load([], {}) == OperatorSettings()


def test_a_variable_replaces_the_default_and_a_flag_replaces_the_variable():
    environment = {"LLAMA_OPERATOR_WORKERS": "3"}
    assert load([], environment).workers == 3
    assert load(["--workers", "5"], environment).workers == 5


def test_an_empty_variable_counts_as_absent():
    assert load([], {"LLAMA_OPERATOR_WORKERS": ""}).workers == OperatorSettings().workers


def test_variables_that_kubernetes_makes_for_a_service_of_our_name_do_not_disturb():
    environment = {"LLAMA_OPERATOR_PORT": "tcp://10.96.0.7:8080", "LLAMA_OPERATOR_SERVICE_HOST": "10.96.0.7"}
    assert load([], environment) == OperatorSettings()


@pytest.mark.parametrize(
    ("argv", "environment"),
    [
        (["--namespace", "team-a", "--namespace", "team-b"], {}),
        (["--namespace", "team-a, team-b,team-a"], {}),
        ([], {"LLAMA_OPERATOR_NAMESPACES": "team-a,team-b"}),
    ],
)
def test_namespaces_are_repeated_or_separated_by_commas(argv, environment):
    assert load(argv, environment).namespaces == ("team-a", "team-b")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--workers", "0"], ["--workers", "LLAMA_OPERATOR_WORKERS", "'0'", "greater than or equal to 1"]),
        (["--workers", "many"], ["--workers", "'many'", "valid integer"]),
        (["--log-format", "xml"], ["--log-format", "'xml'", "Auto, Json, Text"]),
        (["--namespace", "Team_A"], ["--namespace", "LLAMA_OPERATOR_NAMESPACES", "'Team_A'"]),
        (["--lease-renew-seconds", "15"], ["--lease-renew-seconds < --lease-duration-seconds", "2, 15, 15"]),
        (["--ray-version", "latest"], ["--ray-version", "'latest'"]),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_its_name_and_what_would_be(argv, words):
    with pytest.raises(SettingsError) as refused:
        load(argv, {})
    for word in words:
        assert word in str(refused.value)


def test_all_wrong_values_are_named_at_once():
    with pytest.raises(SettingsError) as refused:
        load(["--workers", "0"], {"LLAMA_OPERATOR_PROBE_PORT": "70000"})
    assert "--workers" in str(refused.value)
    assert "LLAMA_OPERATOR_PROBE_PORT" in str(refused.value)


def test_a_flag_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        load(["--worker", "1"], {})
    assert ended.value.code == 2
    assert "--worker" in capsys.readouterr().err


def test_the_help_names_every_flag_variable_and_default():
    # Without white space: argparse also breaks lines after hyphens.
    text = "".join(build_parser().format_help().split())
    for option in options():
        assert option.flag in text
        assert option.variable in text
        assert option.default in text
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in text


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as ended:
        load(["--version"], {})
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"llama-operator {__version__}\n"


def test_every_setting_has_a_meaning_and_stands_in_the_reference():
    page = reference()
    for option in options():
        assert option.description.endswith("."), option.field
        assert f"`{option.variable}`" in page
        assert option.description in page


def test_decisions_get_what_concerns_them():
    found = load(["--serving-image", "example/serving:1", "--kuberay-namespace", "ray"], {}).decisions()
    assert found == Settings(image="example/serving:1", kuberay_namespace="ray")


def test_all_that_decisions_depend_on_can_be_set():
    argv = [
        "--serving-image=example/serving:1", "--ray-version=2.99.0", "--kuberay-namespace=ray",
        "--card-image=rocm=example/serving:rocm", "--hub-endpoint=https://hub.example", "--weights-preflight=Disabled", "--serving-poll-seconds=7",
        "--serving-architecture=arm64", "--monitoring-namespace=agents",
        "--gateway-namespace=ingress", "--operator-namespace=llama", "--serving-egress=Open", "--api-server-port=7443",
    ]  # fmt: skip
    set_, usual = asdict(load(argv, {}).decisions()), asdict(Settings())
    # Only the local mode has the weights on disk, and only it runs no pods.
    assert {name for name in usual if set_[name] == usual[name]} == {"keys_path", "weights_path", "local"}


def test_words_of_the_settings_are_those_of_the_api_camel_case():
    found = load(["--serving-status", "Off", "--log-level", "Warning"], {})
    assert found.serving_status is ServingStatusSource.OFF
    assert found.log_level is LogLevel.WARNING


def test_images_for_other_cards_are_pairs_of_what_they_are_built_for():
    both = load([], {"LLAMA_OPERATOR_CARD_IMAGES": "rocm=example/a:1,cuda-arm64=example/b:2"}).decisions()
    assert both.card_images == {"rocm": "example/a:1", "cuda-arm64": "example/b:2"}
    for wrong in ("rocm", "cuda=example/a:1", "tpu=example/a:1", "rocm="):
        with pytest.raises(SettingsError, match="--card-image"):
            load([f"--card-image={wrong}"], {})


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"tolerations": [{"ky": "sku"}]}', "tolerations.0.ky"),
        ('{"tolerations": [{}]}', "tolerations[0].key: is not set; must be set when operator is Equal"),
        ('{"workers": {"labels": {"not a key": "x"}}}', "podDefaults.workers.labels: 'not a key' is no key"),
        ("{", "invalid JSON"),
    ],
)
def test_defaults_of_pods_that_kubernetes_would_not_take_are_refused_at_the_start(written, said):
    with pytest.raises(SettingsError) as refused:
        load([], {"LLAMA_OPERATOR_POD_DEFAULTS": written})
    assert "--pod-defaults" in str(refused.value)
    assert said in str(refused.value)


def test_a_serving_image_for_two_architectures_runs_on_cards_beside_both():
    both = ["--serving-image=example/serving:1", "--serving-architecture=amd64,arm64"]
    assert load(both, {}).decisions().card_images == {"cuda-arm64": "example/serving:1"}
    other = load([*both, "--card-image=cuda-arm64=example/serving:arm"], {}).decisions()
    assert other.card_images == {"cuda-arm64": "example/serving:arm"}
