"""What pip says, in one line that says what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts.installer import Installer, explain
from scripts.machine import SetupFailed

_LOG = Path("setup.log")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)'\n"
            "ERROR: Could not find a version that satisfies the requirement aiohttp==3.14.5\n"
            "ERROR: No matching distribution found for aiohttp==3.14.5\n",
            "the package index cannot be reached",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement ray==2.60.0\n"
            "ERROR: No matching distribution found for ray==2.60.0\n",
            "there is no wheel of ray==2.60.0 for Python",
        ),
        (
            "ERROR: Could not install packages: [Errno 28] No space left on device",
            "the disk is full",
        ),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", "PIP_CERT"),
        (
            "ERROR: HTTP error 407\nrequests: 407 Client Error: Proxy Authentication Required",
            "refuses access",
        ),
        ("error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory", "build-essential"),
        ("OSError: CUDA_HOME environment variable is not set.", "install the CUDA toolkit"),
        ("ERROR: Failed building wheel for flash-attn", "flash-attn cannot be built"),
        ("something\nERROR: Invalid requirement: 'x y'\n", "pip failed: Invalid requirement: 'x y'"),
        ("", "no reason given"),
    ],
)
def test_output_of_pip_is_translated(output: str, message: str) -> None:
    said = explain(output, _LOG)

    assert message in said
    assert "setup.log" in said
    assert "\n" not in said


def test_what_a_real_pip_cannot_find_is_told_from_what_fails(tmp_path: Path) -> None:
    pip = Installer(Path(sys.executable), tmp_path / "logs" / "setup.log", 1)

    # No index and nothing to be found: pip answers without asking any network.
    assert not pip.try_install(["--no-index", "--find-links", str(tmp_path), "no-such-package==1"])
    with pytest.raises(SetupFailed, match="no wheel of no-such-package==1"):
        pip.install(["--no-index", "--find-links", str(tmp_path), "no-such-package==1"])
    # Constraints, as a machine's pip.conf can name them, change pip's words.
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("no-such-package<=2\n", encoding="utf-8")
    wanted = ["--no-index", "--find-links", str(tmp_path), "--constraint", str(constraints)]
    assert not pip.try_install([*wanted, "no-such-package==1"])
    with pytest.raises(SetupFailed, match="no wheel of no-such-package==1"):
        pip.install([*wanted, "no-such-package==1"])
    with pytest.raises(SetupFailed, match="pip failed"):
        pip.try_install(["--no-index", "not a requirement"])
    assert "no-such-package==1" in (tmp_path / "logs" / "setup.log").read_text()
