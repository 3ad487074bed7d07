"""The last error of a log: as KubeRay wrote it in a test of the control plane, and in the other forms of Go programs."""

from pathlib import Path

import pytest

from llama_operator.cli.doctor.log_errors import last_error

RECORDED = (Path(__file__).parent / "kuberay.log").read_text(encoding="utf-8")
TRACE = (
    "sigs.k8s.io/controller-runtime/pkg/internal/controller.(*Controller).reconcileHandler\n\t/go/pkg/controller.go:474"
)
CONSOLE = (
    "2024-05-21T08:35:36.430Z\tINFO\tcontrollers.RayService\tReconciling\n"
    '2024-05-21T08:35:36.436Z\tERROR\tcontrollers.RayService\tReconciler error\t{"RayService": {"name":"chat","namespace":"a"}, '
    f'"error": "no quota"}}\n{TRACE}\n'
)


def test_the_last_error_of_kuberay_is_told_with_what_it_is_about():
    error = last_error(RECORDED)
    assert error.words == (
        "Reconciler error (RayService kuberay-team/chat-70b-196efa73): found 0 head. cluster name chat-70b-196efa73-c7jzn, "
        "namespace kuberay-team"
    )
    assert error.at.isoformat() == "2026-11-26T19:20:36.430000+00:00"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (CONSOLE, "Reconciler error (RayService a/chat): no quota"),
        ("2024-05-21T08:35:36.436Z\tERROR\tsetup\tproblem running manager\n", "problem running manager"),
        ("E1126 19:20:36.430123       1 leaderelection.go:332] error retrieving lock: timeout\n", "error retrieving lock: timeout"),
        ("panic: runtime error: invalid memory address\n\ngoroutine 1 [running]:\n", "panic: runtime error: invalid memory address"),
        ('{"level":"error","msg":"cannot pull https://jo:geheim@mirror.example/x","error":"token=abcdefgh"}\n', "cannot pull https://***@mirror.example/x: token=***"),
        ('{"level":"error","msg":"\\u001b[31mred\\u001b[0m\\u0007"}\r\n', "red"),
        ('{"level":"ERROR","msg":"a\\nb","Pod":5,"RayJob":{"name":["x"]}}', "a b"),
        ('{"level":"error","msg":"' + "x" * 5000 + '"}', "x" * 100 + " … "),
    ],
)  # fmt: skip
def test_every_form_of_a_line_is_read_without_secrets_and_control_characters(log, words):
    assert last_error(log).words.startswith(words)
    assert len(last_error(log).words.encode()) <= 400


@pytest.mark.parametrize(
    "log",
    ["", "\n", '{"level":"info","msg":"Reconciler error"}', '{"level":"error', "[" * 9000, '{"level":' * 9000, "ERROR: no", '{"level":["error"]}', TRACE],
    ids=range(9),
)  # fmt: skip
def test_what_is_no_error_is_none(log):
    assert last_error(log) is None
