"""`make dev-cluster`: a simulated GPU cluster to try the operator on, until Ctrl-C. Nothing of it stays."""

import argparse
import contextlib
import signal
import sys
from collections.abc import Sequence

from control_plane import karpenter, kuberay, nodes, saved_planes
from control_plane.binaries import BuildError
from control_plane.plane import ControlPlane
from control_plane.processes import PlaneError

_TRY = """
The cluster is up. In another terminal:

  export KUBECONFIG={kubeconfig}
  export PATH={binaries}:$PATH          # kubectl and helm, if you have none
  kubectl create namespace team-a
  kubectl apply -f manifests/samples/license-acceptance.yaml
  kubectl apply -f manifests/samples/llama-3.3-70b-fp8-h100.yaml
  kubectl get lld -A -w{operator}{autoscaling}

What Serve says of a deployment is yours to choose:
  curl -X PUT {dashboards}/simulated/team-a/chat-70b \\
    -d '{{"application_status": "DEPLOY_FAILED", "message": "CUDA out of memory"}}'

Nodes and Ray's dashboards are simulated; everything else is real. Logs: {directory}
Ctrl-C stops it and removes everything.
"""
_NO_OPERATOR = """

The operator itself, if it shall act on them:
  .venv/bin/python -m llama_operator.main --kubeconfig {kubeconfig} --lease-namespace default"""

_AUTOSCALING = """

Karpenter starts H100 nodes, four at most, for pods that find none, and removes them when they are empty:
  kubectl get nodepools,nodeclaims,nodes -w"""
_NODES = (("h100-8", 2), ("cpu", 1))
_NODES_WITH_KARPENTER = (("cpu", 1),)


def _nodes(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    if name not in nodes.profiles() or not count.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: write PROFILE=N with one of {', '.join(nodes.profiles())}")
    return name, int(count)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a cluster until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="make dev-cluster",
        description="A real control plane and KubeRay with simulated nodes, on this machine's loopback. No root, no containers.",
        epilog="From make: make dev-cluster ARGS='--nodes h100-8=4 --operator'. Profiles: "
        + ", ".join(nodes.profiles()),
    )
    parser.add_argument(
        "--nodes",
        action="append",
        type=_nodes,
        metavar="PROFILE=N",
        help="simulated nodes; may be repeated (default: h100-8=2 and cpu=1; with --karpenter cpu=1, for the heads)",
    )
    parser.add_argument("--operator", action="store_true", help="run the operator of this work tree too")
    parser.add_argument(
        "--karpenter", action="store_true", help="let Karpenter start 8-GPU H100 nodes when pods need them"
    )
    options = parser.parse_args(arguments)
    wanted = options.nodes or (_NODES_WITH_KARPENTER if options.karpenter else _NODES)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run(wanted, with_operator=options.operator, with_karpenter=options.karpenter)
    except KeyboardInterrupt:
        return 0
    except (BuildError, PlaneError) as error:
        print(f"dev-cluster: {error}", file=sys.stderr)
        return 1
    return 0


def _run(wanted: Sequence[tuple[str, int]], *, with_operator: bool, with_karpenter: bool) -> None:
    print("==> starting the control plane (the first time, this builds it and saves its CRDs)", flush=True)
    with contextlib.ExitStack() as stack:
        plane = stack.enter_context(saved_planes.control_plane())
        kuberay.start(plane)
        for name, count in wanted:
            nodes.add_nodes(plane, name, count)
        if with_karpenter:
            karpenter.start(plane)
        if with_operator:
            _start_operator(plane)
        facts = {
            "kubeconfig": plane.kubeconfig,
            "binaries": plane.binaries,
            "directory": plane.directory,
            "dashboards": plane.dashboards.url,
        }
        operator = "" if with_operator else _NO_OPERATOR.format(**facts)
        print(_TRY.format(operator=operator, autoscaling=_AUTOSCALING if with_karpenter else "", **facts), flush=True)
        signal.pause()


def _start_operator(plane: ControlPlane) -> None:
    command = [
        *(sys.executable, "-m", "llama_operator.main", f"--kubeconfig={plane.kubeconfig}"),
        # No pod runs there: nobody could ask the Hub.
        *("--lease-namespace=default", "--serving-status=Off", "--weights-preflight=Disabled"),
        f"--evidence-file={plane.directory / 'evidence.jsonl'}",
    ]
    plane.processes.start("llama-operator", command)


if __name__ == "__main__":
    raise SystemExit(main())
