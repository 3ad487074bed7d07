"""What a real node is made from, checked without one."""

import json
import tarfile
import tomllib
from ipaddress import IPv4Network

import pytest
import yaml

from control_plane.node import configuration, image, machine, runtime
from control_plane.node.network import Network

NETWORK = Network(90, IPv4Network("10.96.0.0/16"))


@pytest.fixture
def archive(tmp_path):
    def written(wanted):
        path = image.write(wanted, tmp_path / "image.tar")
        with tarfile.open(path) as outer:
            (manifest,) = json.load(outer.extractfile("manifest.json"))
            configured = json.load(outer.extractfile(manifest["Config"]))
            with tarfile.open(fileobj=outer.extractfile(manifest["Layers"][0])) as layer:
                return manifest, configured["config"], {entry.name: entry for entry in layer}

    return written


def test_an_image_runs_as_a_user_with_a_number_and_a_home(archive):
    manifest, config, files = archive(image.Image(name="docker.io/a/b:1", path="/somewhere/bin:/usr/bin"))
    assert manifest["RepoTags"] == ["docker.io/a/b:1"]
    assert config["User"] == "1000:1000"
    assert config["Env"] == ["PATH=/somewhere/bin:/usr/bin"]
    assert files["home/ray"].uid == 1000
    assert files["tmp"].mode == 0o1777
    assert files["lib64"].linkname == "usr/lib64"


def test_files_of_the_home_belong_to_the_user(archive):
    _, _, files = archive(image.Image(name="docker.io/a/b:1", kept={".cache/vllm/modelinfos/a.json": b"{}"}))
    assert files["home/ray/.cache/vllm"].isdir()
    assert files["home/ray/.cache/vllm"].uid == 1000
    assert files["home/ray/.cache/vllm/modelinfos/a.json"].size == 2


def test_the_same_image_gives_the_same_bytes(tmp_path):
    wanted = image.Image(name="docker.io/a/b:1", command=("/bin/true",))
    first, second = (image.write(wanted, tmp_path / name).read_bytes() for name in ("first.tar", "second.tar"))
    assert first == second


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("a/b:1", "docker.io/a/b:1"),
        ("example.org/a/b:1", "example.org/a/b:1"),
        ("localhost:5000/b", "localhost:5000/b"),
    ],
)
def test_a_short_name_stands_for_docker_hub_as_in_a_pod(short, full):
    assert image.full_reference(short) == full


def test_the_addresses_of_a_node_lie_in_one_network_and_do_not_meet():
    everything = IPv4Network("10.90.0.0/16")
    assert NETWORK.pods.subnet_of(everything)
    assert {NETWORK.host, NETWORK.node, NETWORK.gateway} <= set(everything)
    assert NETWORK.host not in NETWORK.pods
    assert NETWORK.node not in NETWORK.pods
    assert len(NETWORK.host_interface) <= 15, "the kernel takes no longer name"


def test_no_folder_is_given_to_containers_twice():
    folders = configuration.host_folders()
    assert not [one for one in folders for other in folders if one != other and one.is_relative_to(other)]


def test_a_boot_plan_says_what_to_run_and_what_to_leave_running(tmp_path):
    steps = [machine.Step(("ip", "link")), machine.Step(("a", tmp_path), name="a", until=tmp_path / "socket")]
    ran, left = (step.plan(tmp_path) for step in steps)
    assert ran == {"run": ["ip", "link"]}
    assert left == {
        "name": "a",
        "spawn": ["a", str(tmp_path)],
        "log": str(tmp_path / "a.log"),
        "until": str(tmp_path / "socket"),
    }


def test_what_a_pod_mounts_hides_nothing_that_lies_in_it():
    places = ["/proc", "/dev", "/tmp/project/.venv", "/dev/shm", "/tmp", "/tmp/project/.venv/lib", "/etc/hosts"]
    found = [each["destination"] for each in runtime.ordered([{"destination": place} for place in places])]
    assert found.index("/tmp") < found.index("/tmp/project/.venv") < found.index("/tmp/project/.venv/lib")
    assert found.index("/dev") < found.index("/dev/shm")
    assert found[:3] == ["/proc", "/dev", "/tmp"]


def test_an_oci_layout_becomes_an_archive_under_the_name_that_pods_ask_for(tmp_path):
    layout = tmp_path / "layout"
    (layout / "blobs" / "sha256").mkdir(parents=True)
    (layout / "blobs" / "sha256" / "ab").write_text("{}")
    (layout / "oci-layout").write_text("{}")
    named = {"org.opencontainers.image.ref.name": "localhost/a:1"}
    (layout / "index.json").write_text(json.dumps({"manifests": [{"digest": "sha256:ab", "annotations": named}]}))
    written = image.archive(layout, "docker.io/a/b:1", tmp_path / "image.tar")
    with tarfile.open(written) as tar:
        (entry,) = json.load(tar.extractfile("index.json"))["manifests"]
        assert entry == {"digest": "sha256:ab", "annotations": {"io.containerd.image.name": "docker.io/a/b:1"}}
        assert {"oci-layout", "blobs/sha256/ab"} <= {*tar.getnames()}


def test_the_class_of_whole_images_names_the_handler_of_containerd():
    manifest = yaml.safe_load(configuration.RUNTIME_CLASS.read_text())
    assert manifest["metadata"]["name"] == manifest["handler"] == configuration.WHOLE


def test_a_registry_may_be_elsewhere_than_its_name_says(tmp_path):
    for port in (1, 2):
        configuration.write_registry(tmp_path, "registry.acme.example", f"http://10.88.0.1:{port}")
    text = (tmp_path / "registries" / "registry.acme.example" / "hosts.toml").read_text()
    assert tomllib.loads(text) == {
        "server": "http://10.88.0.1:2",
        "host": {"http://10.88.0.1:2": {"capabilities": ["pull", "resolve"]}},
    }
