"""A key that cannot sign ends the operator at once with exit code 2, before it asks any API server."""

import subprocess
import sys

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def test_a_wrong_key_says_what_to_do_and_shows_nothing_of_it(tmp_path):
    key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path / "key.pem"
    path.write_bytes(key)
    done = subprocess.run(
        [sys.executable, "-m", "llama_operator.main", "--log-level", "Debug"],
        env={"LLAMA_OPERATOR_EVIDENCE_SIGNING_KEY": str(path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--evidence-signing-key" in done.stderr
    assert f"{path} holds an RSA key, and only Ed25519 is used; make a key with `openssl genpkey" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [line for line in key.decode().splitlines()[1:-1] if line in done.stdout + done.stderr]
