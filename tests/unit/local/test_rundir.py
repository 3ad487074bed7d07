import signal
import subprocess
import sys

import pytest

from llama_operator.local import processes, rundir
from llama_operator.local.errors import LocalRunError
from llama_serving.contract import haproxy


def start_marked(run_id):
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=processes.marker(run_id))


def test_a_run_leaves_no_folder(tmp_path):
    run = rundir.RunDirectory.create(tmp_path)
    assert run.temp_dir.stat().st_mode & 0o777 == 0o700
    assert run.token_file.stat().st_mode & 0o777 == 0o600
    run.close()
    assert not run.temp_dir.exists()
    assert not run.path.exists()


def test_the_longest_folder_leaves_room_for_the_sockets_of_haproxy(monkeypatch):
    """HAProxy refuses the path of a socket with more than 97 bytes, and Ray then starts it again without end."""
    node = "f" * 56
    for length in range(4, 40):
        root = "/" + "t" * (length - 1)
        monkeypatch.setattr(rundir.os, "access", lambda *_: True)
        monkeypatch.setattr(rundir.tempfile, "gettempdir", lambda root=root: root)
        if str(rundir._temp_root()) == root:
            sockets = haproxy.private_to_one_cluster(
                f"{root}/lld-12345678/0/{node}", metrics_port=1, stats_port=2, fallback_port=3, replica_ports=(4, 5)
            )
            assert all(len(path) <= 97 for path in sockets.values() if path.endswith(".sock"))
        else:
            assert length > 12


def test_every_run_has_its_own_token(tmp_path):
    one, two = rundir.RunDirectory.create(tmp_path), rundir.RunDirectory.create(tmp_path)
    assert one.token != two.token
    one.close()
    two.close()


def test_a_sweep_leaves_live_runs_alone(tmp_path):
    run = rundir.RunDirectory.create(tmp_path)
    process = start_marked(run.run_id)
    assert rundir.sweep(tmp_path) == []
    assert process.poll() is None
    assert run.temp_dir.exists()
    process.kill()
    process.wait()
    run.close()


def test_a_sweep_ends_and_removes_what_a_dead_owner_left(tmp_path):
    code = "import pathlib, sys; from llama_operator.local.rundir import RunDirectory as R\nr = R.create(pathlib.Path(sys.argv[1])); print(r.run_id, r.temp_dir)"
    output = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    run_id, temp_dir = output.stdout.split()
    process = start_marked(run_id)
    assert rundir.sweep(tmp_path) == [run_id]
    assert process.wait(timeout=10) == -signal.SIGKILL
    assert not rundir.Path(temp_dir).exists()
    assert list((tmp_path / "runs").iterdir()) == []


def left_by_a_desktop(root):
    (root / "runs" / ".DS_Store").touch()
    (root / "runs" / "a-link").symlink_to(root / "elsewhere")


def left_by_another_user(root):
    # Whoever may not open it gets an error, as here.
    (root / "runs" / "other" / "lock").mkdir(parents=True)


def left_torn(root):
    folder = root / "runs" / "torn"
    folder.mkdir()
    (folder / "owner.json").write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("leave", "swept"), [(left_by_a_desktop, []), (left_by_another_user, []), (left_torn, ["torn"])]
)
def test_what_is_no_run_of_this_user_keeps_none_from_starting(tmp_path, leave, swept):
    (tmp_path / "runs").mkdir()
    leave(tmp_path)
    assert rundir.sweep(tmp_path) == swept
    assert not (tmp_path / "elsewhere").exists()
    rundir.RunDirectory.create(tmp_path).close()


@pytest.mark.parametrize("work", [rundir.sweep, rundir.RunDirectory.create])
def test_a_cache_that_cannot_be_written_is_told_with_what_to_do(tmp_path, work):
    (tmp_path / "cache").touch()
    with pytest.raises(LocalRunError, match=r"that cannot be written \(Not a directory: .*set XDG_CACHE_HOME"):
        work(tmp_path / "cache" / "local")


def test_kept_logs_outlive_the_run_and_do_not_pile_up(tmp_path):
    for number in range(7):
        run = rundir.RunDirectory.create(tmp_path)
        (run.logs / f"c{number}.log").write_text("why")
        kept = run.keep_logs(f"c{number}", run.temp_dir / "absent")
        run.close()
    assert (kept / "c6.log").read_text() == "why"
    assert len(list((tmp_path / "logs").iterdir())) == 5


def test_each_node_of_a_run_has_a_temporary_folder_of_its_own(tmp_path):
    run = rundir.RunDirectory.create(tmp_path)
    assert run.new_temp_dir() != run.new_temp_dir()
    run.close()
