"""What can be seen in the files without running what they are for."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from kros_mcp.commands.http import http
from kros_mcp.settings import SECRET_FILES, Settings
from tests.checks.deploy.proxies import DEPLOY
from tests.checks.node import program
from tests.checks.packaging.checks import require

ROOT = DEPLOY.parent
_MANIFESTS = DEPLOY / "kubernetes" / "kros-mcp.yaml"
_UNIT = DEPLOY / "systemd" / "kros-mcp.service"
_KUBERNETES = ("1.30", "1.37")
_MOST_EXPOSED = 15
"""Of systemd's hundred for a service that is not confined at all."""
_OF_A_CLUSTER = "KROS_MCP_SERVICE_HOST"
"""What Kubernetes would set by itself, and a file says so."""
_IN_THE_CONTAINER = "127.0.0.1', 8000"


def check_manifests() -> None:
    """Have the published schemas of Kubernetes take the manifests, and nothing that is not in them."""
    for version in _KUBERNETES:
        validate = ["uv", "tool", "run", "--quiet", "--from", "kubernetes-validate>=1.37,<2", "kubernetes-validate"]
        _run([*validate, "--strict", "--version", version, _MANIFESTS])


def check_compose() -> None:
    """Have the published schema of Compose take the file, and a linter find no mistake in it."""
    # It is built and named, and the proxy is there for others than this machine.
    meant = ("no-build-and-image", "no-unbound-port-interfaces")
    left_out = [word for rule in meant for word in ("--disable-rule", rule)]
    file = DEPLOY / "compose.yaml"
    _run([*program("dclint"), file, "--quiet", *left_out])
    text = file.read_text(encoding="utf-8")
    [fixed] = re.findall(r"ipv4_address: (\S+)", text)
    given = re.findall(r"ip_range: (\S+)", text) or re.findall(r"subnet: (\S+)", text)
    taken = any(ip_address(fixed) in ip_network(each) for each in given)
    require(not taken, "a service that starts before the proxy may be given the proxy's address")
    require("- path: .env\n" in text, "a setting in .env, such as a cap, would not reach the service")


def check_unit(folder: Path) -> None:
    """Have systemd find no fault in the unit, and count how exposed it leaves the service."""
    unit = folder / _UNIT.name
    # Its program is not installed here, nor its user: neither is what is asked.
    text = re.sub(
        r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", _UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    unit.write_text(text)
    told = _run(["systemd-analyze", "verify", "--man=no", unit])
    said = [line for line in told.stderr.splitlines() if unit.name in line]
    require(not said, "\n".join(said))
    _run(["systemd-analyze", "security", "--offline=true", f"--threshold={_MOST_EXPOSED}", unit])


def check_scripts(folder: Path) -> None:
    """Have the shell find no fault in the scripts, and the secrets be nobody else's, whoever made their folder."""
    if os.geteuid() == 0:
        made = folder / "secrets"
        made.mkdir(mode=0o755)
        _run([shutil.copy(DEPLOY / "make-secrets.sh", folder)])
        require(made.stat().st_mode & 0o077 == 0, "make-secrets.sh leaves the secrets to everybody on the machine")
    for script in (DEPLOY / "make-secrets.sh", DEPLOY / "systemd" / "kros-mcp-run"):
        _run(["sh", "-n", script])


def check_settings() -> None:
    """See that whatever the files set is a setting of kros-mcp, and whatever they call is an option of it."""
    known = {f"KROS_{field.upper()}" for field in Settings.model_fields} | SECRET_FILES.keys()
    options = {word for parameter in http.params for word in parameter.opts}
    for path in _texts():
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"\bKROS_[A-Z_]+\b", text)) - {_OF_A_CLUSTER}
        require(named <= known, f"{path.name} names {', '.join(sorted(named - known))}")
        for line in re.findall(r"kros-mcp http (--.*)|\[\"?http\"?, (.*)\]", text):
            used = set(re.findall(r"--[a-z-]+", " ".join(line)))
            require(used <= options, f"{path.name} calls {', '.join(sorted(used - options))}")


def build_as_the_image_does(folder: Path) -> None:
    """Build the wheel from nothing but what the Containerfile copies."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE):
        *names, target = line.split()
        for name in names:
            source, place = ROOT / name, folder / target / ("" if (ROOT / name).is_dir() else Path(name).name)
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                shutil.copy(source, place)
    _run(["uv", "build", "--quiet", "--wheel", "--out-dir", folder / "wheel", folder])
    require(list((folder / "wheel").glob("kros_mcp-*.whl")), "no wheel was built")


def check_health(url: str) -> None:
    """Run what the image asks of its own health, against a service elsewhere, and against nothing."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    [words] = re.findall(r"^    CMD \[(.*)\]$", text, re.MULTILINE)
    command = re.findall(r'"([^"]*)"', words)
    require(_IN_THE_CONTAINER in command[-1], "the health check asks elsewhere")
    for port, healthy in ((urlsplit(url).port, True), (1, False)):
        asked = [*command[:-1], command[-1].replace(_IN_THE_CONTAINER, f"127.0.0.1', {port}")]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
        require((done.returncode == 0) is healthy, f"the health check ended with {done.returncode} at port {port}")


def _texts() -> Iterator[Path]:
    """List what of `deploy/` is in git, so that nobody's secrets are read."""
    listed = _run(["git", "-C", ROOT, "ls-files", "-z", "deploy"]).stdout
    yield from (ROOT / name for name in listed.split("\0") if name)


def _run(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
