"""Ray's autoscaler and the certificates of API servers: EKS has had some that Python 3.13 refuses by itself."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("command", "strict"), [(["kuberay-autoscaler"], False), (["start", "--head"], True)])
def test_only_the_autoscaler_takes_certificates_without_key_identifiers(tmp_path, command, strict):
    (tmp_path / "autoscaler.pth").write_text((ROOT / "images/autoscaler.pth").read_text())
    looks = f"import site; site.addsitedir({str(tmp_path)!r}); from urllib3.util import ssl_; print(ssl_.VERIFY_X509_STRICT != 0)"
    said = subprocess.run([sys.executable, "-c", looks, *command], check=True, capture_output=True, text=True)
    assert said.stdout.split() == [str(strict)]
