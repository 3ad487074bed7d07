"""Fixtures of the serving tests: a real Ray cluster (`support.serving.ray_cluster`), and what is deployed on it."""

import concurrent.futures
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llama_serving.config import LiveSettings, RequestPath, ServingConfig, pod_environment
from llama_serving.contract.keys import ApiKey
from llama_serving.contract.tenants import DeskSettings
from support.serving.api_keys import KeysOfTeam
from support.serving.collector import Collector, collecting, variables_of
from support.serving.configs import live_settings, serve_config, tiny_config
from support.serving.ray_cluster import RayCluster, wait_for

FOLDER = Path(__file__).parent
FILES = (
    "test_copy.py",
    "test_from_zero.py",
    "test_adapters.py",
    "test_license.py",
    "test_guard.py",
    "test_license_missing.py",
    "test_frontend.py",
    "test_guard_fields.py",
    "test_openai.py",
    "test_scaling.py",
    "test_desk.py",
    "test_tenants.py",
    "test_traces.py",
    "test_campaign.py",
    "test_status.py",
    "test_controller.py",
    "test_door.py",
    "test_sharding.py",
    "test_ingress.py",
    "test_routing.py",
    "test_usage.py",
    "test_ray_autoscaler.py",
    "test_shared_cards.py",
)
"""In this order one application replaces another least often."""
SELDOM = {"RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.3"}
"""Serve's controller looks around ten times a second by default, which takes a tenth of the CPU of these tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files of this folder and of those in it; others keep their places."""
    places = [place for place, item in enumerate(items) if FOLDER in item.path.parents]
    ours = sorted((items[place] for place in places), key=lambda item: FILES.index(item.path.name))
    for place, item in zip(places, ours, strict=True):
        items[place] = item


class Deployed:
    """One config on the cluster."""

    def __init__(self, cluster: RayCluster, config: ServingConfig) -> None:
        self.cluster = cluster
        self.config = config
        self.model = config.model_id

    def apply(self, live: LiveSettings) -> None:
        """Deploy with these live settings, in place of what was deployed before."""
        self.cluster.deploy(serve_config(self.config, live, http_port=self.cluster.http_port))

    def greedy(self, prompt: str, tokens: int) -> str:
        """Complete without randomness; one character is one token."""
        completion = self.cluster.client().completions.create(
            model=self.model, prompt=prompt, max_tokens=tokens, temperature=0
        )
        return completion.choices[0].text


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeysOfTeam:
    """The keys of the door: all tests come in through it."""
    return KeysOfTeam(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def herd(keys: KeysOfTeam) -> ApiKey:
    """A key of the tenant `herd`, older than every server of the cluster, so that all of them know it from their start."""
    return keys.add("herd")


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Where the traces of all tests go."""
    with collecting() as running:
        yield running


@pytest.fixture(scope="session")
def cluster(
    keys: KeysOfTeam, herd: ApiKey, config: Callable[..., ServingConfig], collector: Collector
) -> Iterator[RayCluster]:
    """One Ray cluster for all: a node with a stand-in GPU, on which one application replaces another; see `two_nodes`.

    A request is traced if its client says so.
    """
    del herd
    traces = variables_of(collector.endpoint, OTEL_TRACES_SAMPLER_ARG="0", OTEL_BSP_SCHEDULE_DELAY="200")
    # The engine that is refused is refused at once, and not at the third try.
    tries = {"RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": "1"}
    running = RayCluster(pod_environment(config()) | traces | tries | SELDOM, api_key=keys.add("tests").text)
    try:
        running.start_node(cpus=8, stand_in_gpus=1)
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def two_nodes(cluster: RayCluster) -> RayCluster:
    """The same cluster with a second node. It comes late, because it takes CPU from all tests after it."""
    cluster.start_node(cpus=4, stand_in_gpus=1)
    return cluster


@pytest.fixture(scope="session")
def deploy(cluster: RayCluster) -> Callable[[ServingConfig], Deployed]:
    """Makes a config the one that runs, with live settings to begin with; if it runs already, only settings that are named."""
    return _bringing(cluster)


@pytest.fixture(scope="module")
def deploy_on_ingress() -> Iterator[Callable[[ServingConfig], Deployed]]:
    """The same on a cluster whose nodes have no HAProxy: that is decided when they start."""
    running = RayCluster(pod_environment(tiny_config(path=RequestPath.INGRESS)) | SELDOM)
    try:
        running.start_node(cpus=2)
        yield _bringing(running)
    finally:
        running.stop()


def _bringing(cluster: RayCluster) -> Callable[[ServingConfig], Deployed]:
    current: list[ServingConfig] = []

    def bring(config: ServingConfig, *, wait: bool = True, **at_first: Any) -> Deployed:
        deployed = Deployed(cluster, config)
        # Settings that are asked for are put in force, also on what runs already.
        if current != [config] or at_first:
            current.clear()
            room = {} if config.adapters is None else {"desk": DeskSettings(adapters=())}
            deployed.apply(live_settings(config.path, **room | at_first))
            if wait:
                cluster.wait_until_running()
            current.append(config)
        return deployed

    return bring


@pytest.fixture
def app(deploy: Callable[[ServingConfig], Deployed], config: Callable[..., ServingConfig]) -> Deployed:
    """The tiny model in one replica, tensor parallel size 1; tests leave it as they found it."""
    return deploy(config())


@pytest.fixture(scope="session")
def config(keys: KeysOfTeam) -> Callable[..., ServingConfig]:
    """Makes configs of the generated model, with a door that asks for keys; see `tiny_config`."""
    return functools.partial(tiny_config, keys_folder=str(keys.folder))


@pytest.fixture(scope="session")
def live() -> Callable[..., LiveSettings]:
    """Makes live settings; see `live_settings`."""
    return live_settings


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Waits for a condition; see `wait_for`."""
    return wait_for


@pytest.fixture
def load(app: Deployed) -> Iterator[Callable[[int], list["concurrent.futures.Future[int]"]]]:
    """Starts requests in the background; each answers with the number of tokens that it got."""
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=64)
    client = app.cluster.client()

    def ask(tokens: int) -> int:
        # The endings of the random model are rare, but not impossible.
        answer = client.completions.create(
            model=app.model, prompt="llama", max_tokens=tokens, extra_body={"ignore_eos": True}
        )
        return answer.usage.completion_tokens if answer.usage else 0

    def start(requests: int, *, tokens: int) -> list["concurrent.futures.Future[int]"]:
        return [pool.submit(ask, tokens) for _ in range(requests)]

    yield start
    pool.shutdown()
    client.close()
