"""`plan --nodes` and `plan --cluster`: the hardware comes from nodes, and what is wrong with them is named."""

import asyncio
import json

import pytest
import yaml

from llama_operator import catalog
from llama_operator.cli.main import main
from llama_operator.cli.plan import nodes_file
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from support.rights import WithoutRights

AUTO = {
    "apiVersion": "llama-operator.io/v1alpha1",
    "kind": "LlamaDeployment",
    "metadata": {"name": "chat"},
    "spec": {
        "model": {"name": "llama-3.3-70b-instruct"},
        "context": {"maxModelLength": 32768},
        "license": {"acceptance": "acme", "attributionURL": "https://acme.example/about"},
    },
}
ACCEPTANCE = {
    "apiVersion": "llama-operator.io/v1alpha1",
    "kind": "LicenseAcceptance",
    "metadata": {"name": "acme"},
    "spec": {
        "families": ["llama-3.3"],
        "versionDate": "2024-12-06",
        "textHashes": ["ce9be40907bf3275c053d6ea24b9c7cc2dde6fb04046ccc9274d9860482f9e77"],
        "domicile": "DE",
        "monthlyActiveUsers": {
            "month": "2024-11",
            "count": 120000,
            "attestedBy": "Jo Doe",
            "attestedOn": "2026-03-02",
        },
        "legalEntity": "Acme GmbH",
        "acceptedBy": "Jo Doe",
        "acceptedOn": "2026-03-02",
        "namespaces": ["team-a"],
    },
}


def node(name="gpu-1", product="NVIDIA-H100-80GB-HBM3", gpus="8", **spec):
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/arch": "amd64", "nvidia.com/gpu.product": product}},
        "spec": spec,
        "status": {
            "allocatable": {
                "cpu": "64",
                "memory": "2Ti",
                "ephemeral-storage": "8Ti",
                "pods": "110",
                "nvidia.com/gpu": gpus,
            }
        },
    }


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(yaml.safe_dump(AUTO), encoding="utf-8")
    return str(path)


@pytest.fixture
def read(tmp_path):
    def run(content):
        path = tmp_path / "nodes.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
        return nodes_file.read(str(path), catalog.load())

    return run


KUBECTL = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": [node(), node("gpu-2")]}


@pytest.mark.parametrize(
    "content",
    [
        yaml.safe_dump(KUBECTL),
        json.dumps(KUBECTL),
        yaml.safe_dump_all([node(), node("gpu-2")]),
        json.dumps([node(), node("gpu-2")]),
        "- {accelerator: H100-80GB, gpusPerNode: 8, count: 2}",
        "- accelerator: H100-80GB\n- accelerator: H100-80GB",
        '[{"accelerator": "H100-80GB", "count": 2}]',
        "accelerator: H100-80GB\ncount: 2",
    ],
    ids=["yaml", "json", "documents", "list", "short", "twice", "short-json", "one"],
)
def test_every_form_gives_the_same_hardware(read, content):
    assert [(each.accelerator, each.gpus) for each in read(content)] == [("H100-80GB", 8)] * 2


def test_nodes_that_take_no_pods_do_not_count(read):
    found = read([node(), node("closed", unschedulable=True), node("shared", product="NVIDIA-H100-80GB-HBM3-SHARED")])
    assert ("gpu-1", "H100-80GB", 8) in {(each.name, each.accelerator, each.gpus) for each in found}
    assert "closed" not in {each.name for each in found}
    shared = next(each for each in found if each.name == "shared")
    assert shared.accelerator == "nvidia.com/gpu"
    assert "is a part of a card" in shared.device_problem


def pod(name, node="gpu-1", phase="Running", **requests):
    container = {"name": "c", "resources": {"requests": requests}}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "team-b"},
        "spec": {"nodeName": node, "containers": [container]},
        "status": {"phase": phase},
    }


def test_what_pods_of_the_file_hold_is_not_there(read):
    of_others = [pod("a", cpu="60"), pod("b", phase="Succeeded", cpu="1"), pod("c", node="else", cpu="1")]
    (found,) = read({"kind": "List", "items": [*of_others[:1], node(), *of_others[1:]]})
    assert (found.room.amounts.cpu_millicores, found.room.pods, found.gpus) == (4000, 109, 8)
    (full,) = read([node(), pod("a", cpu="many")])
    assert (full.room.amounts.cpu_millicores, full.room.pods) == (0, 0)


@pytest.mark.parametrize(
    ("content", "field", "words"),
    [
        ("- {accelerator: H100}", "[0].accelerator", "did you mean H100-80GB or H100NVL-94GB?"),
        ("- {accelerator: H100-80GB}\n- {accelerator: L4-24GB, count: '3'}", "[1].count", "must be a whole number"),
        ("- {accelerator: H100-80GB, gpus: 8}", "[0].gpus", "gpusPerNode"),
        ("- {accelerator: H100-80GB, gpusPerNode: 0}", "[0].gpusPerNode", "at least 1"),
        ("- {gpusPerNode: 8}", "[0].accelerator", "is required"),
        ("- 3", "[0]", "is a number"),
        ("just text", "(file)", "is text"),
        ("", "(file)", "has no node"),
        ("- {accelerator: H100-80GB, count: 0}", "(file)", "has no node"),
        ("items: {a: 1}", "items", "is a mapping"),
        ("a: [", "(file)", "is not YAML"),
        ("- &a {accelerator: H100-80GB}\n- *a", "(file)", "alias"),
        (yaml.safe_dump({"kind": "Node", "metadata": {"name": "x"}}), "[0].status.allocatable", "is not there"),
        (yaml.safe_dump({"kind": "Node", "metadata": {}}), "[0].metadata.name", "is not there"),
        (yaml.safe_dump({"items": [{"kind": "Service", "metadata": {"name": "x"}}]}), "items[0].kind", "must be Node"),
        (yaml.safe_dump({"items": [{"kind": "Pod", "metadata": {"name": "x"}}]}), "(file)", "has no node"),
        (yaml.safe_dump(node(gpus="eight")), "[0]", "cannot be read as a Node"),
        (yaml.safe_dump(node() | {"status": {"allocatable": ["8"]}}), "[0]", "cannot be read as a Node"),
    ],
)
def test_what_is_wrong_with_the_nodes_names_the_file_and_the_field(read, content, field, words):
    with pytest.raises(InvalidManifestError) as caught:
        read(content)
    assert caught.value.subject.endswith("nodes.yaml")
    assert field in {problem.path for problem in caught.value.problems}
    assert words in str(caught.value)


def test_a_missing_file_is_named(manifest, capsys):
    assert main(["plan", "-f", manifest, "--nodes", "/nowhere/nodes.yaml"]) == 2
    assert "/nowhere/nodes.yaml" in capsys.readouterr().err


def test_auto_takes_what_the_nodes_have_and_says_whether_they_hold_it(manifest, tmp_path, capsys):
    path = tmp_path / "nodes.yaml"
    path.write_text("- {accelerator: H200-141GB, gpusPerNode: 8}\n", encoding="utf-8")
    assert main(["plan", "-f", manifest, "--nodes", str(path), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["plan"]["chosen"]["accelerator"] == "H200-141GB"
    assert found["capacity"]["status"] == "True"
    assert main(["plan", "-f", manifest, "--nodes", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "1 with 8 H200-141GB" in shown
    assert "exist" in shown


def test_a_plan_fits_the_nodes_that_exist_not_those_that_are_commonly_rented(manifest, tmp_path, capsys):
    path = tmp_path / "nodes.yaml"
    path.write_text("- {accelerator: H100-80GB, gpusPerNode: 2, count: 8}\n", encoding="utf-8")
    main(["plan", "-f", manifest, "--nodes", str(path), "-o", "json"])
    found = json.loads(capsys.readouterr().out)
    plans = [found["plan"]["chosen"], *found["plan"]["alternatives"]]
    assert all(each["tensorParallelSize"] <= 2 for each in plans)
    assert found["capacity"]["status"] == "True"


def test_too_few_nodes_are_told_and_are_no_failure(manifest, tmp_path, capsys):
    path = tmp_path / "nodes.yaml"
    path.write_text("- {accelerator: L4-24GB, gpusPerNode: 4}\n", encoding="utf-8")
    code = main(["plan", "-f", manifest, "--nodes", str(path), "-o", "json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert found["capacity"]["status"] == "False"
    assert "exist" in found["capacity"]["message"]


def test_without_nodes_auto_says_where_they_may_come_from(manifest, capsys):
    assert main(["plan", "-f", manifest]) == 3
    assert "--nodes FILE, or --cluster" in " ".join(capsys.readouterr().out.split())


def test_two_sources_of_hardware_are_one_too_many(manifest, capsys):
    assert main(["plan", "-f", manifest, "--nodes", "x.yaml", "--cluster"]) == 2
    assert "--nodes" in capsys.readouterr().err


def test_the_namespace_of_the_command_line_counts_without_a_cluster_too(manifest, tmp_path, capsys):
    records = tmp_path / "records.yaml"
    records.write_text(yaml.safe_dump(ACCEPTANCE), encoding="utf-8")
    named = tmp_path / "named.yaml"
    spec = AUTO["spec"] | {"hardware": {"accelerator": "H100-80GB"}}
    named.write_text(yaml.safe_dump(AUTO | {"spec": spec}), encoding="utf-8")
    for namespace, code in (("team-a", 0), ("team-b", 4)):
        assert main(["plan", "-f", str(named), "-f", str(records), "-n", namespace, "-o", "json"]) == code
        assert json.loads(capsys.readouterr().out)["deployment"]["namespace"] == namespace


def test_a_live_cluster_gives_nodes_licenses_and_namespace(world, manifest):
    world.seed(
        kinds.NODE, "gpu-1", **{key: value for key, value in node().items() if key not in {"apiVersion", "kind"}}
    )
    asyncio.run(world.user.apply(ACCEPTANCE))
    code, found = world.json("plan", "-f", manifest, "--cluster")
    assert code == 0
    assert found["deployment"] == {"name": "chat", "namespace": "team-a"}
    assert found["license"]["reason"] == "LicenseAllowed"
    assert found["plan"]["chosen"]["accelerator"] == "H100-80GB"
    assert found["capacity"]["status"] == "True"
    # In another namespace the record does not cover it.
    code, found = world.json("plan", "-f", manifest, "--cluster", "-n", "team-b")
    assert code == 4
    assert found["license"]["reason"] == "AcceptanceNamespaceNotCovered"
    assert found["capacity"]["status"] == "True", "what the license refuses is planned all the same"


def versions(world):
    async def listed():
        found = [
            await world.user.list(kind) for kind in (kinds.LLAMA_DEPLOYMENT, kinds.NODE, kinds.CONTROLLER_REVISION)
        ]
        return [
            (item["metadata"]["name"], item["metadata"]["resourceVersion"]) for each in found for item in each.items
        ]

    return asyncio.run(listed())


def test_a_live_cluster_is_not_changed_and_what_runs_there_is_left_aside(world, manifest):
    asyncio.run(world.serving())
    world.seed(
        kinds.NODE, "gpu-1", **{key: value for key, value in node().items() if key not in {"apiVersion", "kind"}}
    )
    before = versions(world)
    _, found = world.json("plan", "-f", manifest, "--context", "prod")
    assert found["plan"]["rejected"]
    assert versions(world) == before


def test_nodes_that_may_not_be_listed_are_an_error_only_where_they_are_needed(world, manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(world, "client", WithoutRights(world.client, kinds.NODE))
    code, _, err = world.run("plan", "-f", manifest, "--cluster")
    assert code == 1
    assert "--nodes FILE" in err
    named = tmp_path / "named.yaml"
    spec = AUTO["spec"] | {"hardware": {"accelerator": "H100-80GB"}}
    named.write_text(yaml.safe_dump(AUTO | {"spec": spec}), encoding="utf-8")
    code, found = world.json("plan", "-f", str(named), "--cluster")
    assert found["plan"]["chosen"] is not None
    assert found["capacity"] is None


CARD = {
    "apiVersion": "llama-operator.io/v1alpha1",
    "kind": "Accelerator",
    "metadata": {"name": "h900"},
    "spec": {
        "memoryMebibytes": 163840,
        "computeCapability": "9.0",
        "nodes": [{"labels": [{"key": "nvidia.com/gpu.product", "values": ["NVIDIA-H900"]}]}],
    },
}


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "card.yaml"
    path.write_text(yaml.safe_dump(CARD), encoding="utf-8")
    return str(path)


def test_a_card_that_nothing_is_planned_on_is_a_warning_until_it_is_declared(manifest, card, tmp_path, capsys):
    path = tmp_path / "nodes.yaml"
    path.write_text(yaml.safe_dump([node(product="NVIDIA-H900"), node("gpu-2")]), encoding="utf-8")
    assert main(["plan", "-f", manifest, "--nodes", str(path), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["plan"]["chosen"]["accelerator"] == "H100-80GB"
    (warning,) = found["warnings"]
    assert warning.startswith(
        "node gpu-1 offers nvidia.com/gpu of product NVIDIA-H900, which the catalog does not know"
    )
    main(["plan", "-f", manifest, "--nodes", str(path)])
    assert "! node gpu-1 offers" in " ".join(capsys.readouterr().out.split())
    main(["plan", "-f", manifest, "-f", card, "--nodes", str(path), "-o", "json"])
    found = json.loads(capsys.readouterr().out)
    assert found["warnings"] == []
    assert found["plan"]["chosen"]["accelerator"] == "h900"


def test_a_card_of_the_files_counts_before_those_of_the_cluster(world, manifest, card):
    world.seed(
        kinds.NODE,
        "gpu-1",
        **{key: value for key, value in node(product="NVIDIA-H900").items() if key not in {"apiVersion", "kind"}},
    )
    asyncio.run(world.user.apply(ACCEPTANCE))
    assert world.json("plan", "-f", manifest, "--cluster")[1]["problem"]["reason"] == "AcceleratorUndecided"
    assert world.json("plan", "-f", manifest, "-f", card, "--cluster")[1]["plan"]["chosen"]["accelerator"] == "h900"
    smaller = CARD | {"spec": CARD["spec"] | {"memoryMebibytes": 4096}}
    asyncio.run(world.user.apply(smaller))
    assert world.json("plan", "-f", manifest, "--cluster")[1]["plan"]["chosen"] is None
    assert world.json("plan", "-f", manifest, "-f", card, "--cluster")[1]["plan"]["chosen"]["accelerator"] == "h900"


@pytest.mark.parametrize(("accelerator", "built_for"), [("MI300X-192GB", "ROCm"), ("GH200-96GB", "arm64")])
def test_a_card_that_needs_another_image_is_a_warning_where_the_operators_images_are_not_known(
    tmp_path, capsys, accelerator, built_for
):
    path = tmp_path / "m.yaml"
    spec = AUTO["spec"] | {"hardware": {"accelerator": accelerator}}
    path.write_text(yaml.safe_dump(AUTO | {"spec": spec}), encoding="utf-8")
    assert main(["plan", "-f", str(path), "-o", "json"]) == 0
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert built_for in warning
    assert "spec.image" in warning
    path.write_text(yaml.safe_dump(AUTO | {"spec": spec | {"image": "registry.example/mine"}}), encoding="utf-8")
    assert main(["plan", "-f", str(path), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []
