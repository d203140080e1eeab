"""The service under flood, in a process of its own: how it is started, and what memory it holds (Linux)."""

import hashlib
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_SECONDS = 30.0
STOP_SECONDS = 30.0
_SCOPES = '["numbers:read", "numbers:configure", "numbers:buy", "numbers:release"]'
_SERVING = re.compile(r"serving http://127\.0\.0\.1:(\d+)/mcp")


@dataclass
class Service:
    """`kros-mcp http` with the built-in simulator, and a token for each of two principals."""

    process: subprocess.Popen[bytes]
    log: Path
    tokens: dict[str, str]
    port: int = 0
    _status: Path = field(init=False)

    def __post_init__(self) -> None:
        self._status = Path(f"/proc/{self.process.pid}/status")

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def await_start(self) -> None:
        """Wait until it serves.

        Raises:
            RuntimeError: It has ended instead, or took too long.
        """
        until = time.monotonic() + START_SECONDS
        while self.is_alive and time.monotonic() < until:
            if found := _SERVING.search(self.log.read_text(encoding="utf-8")):
                self.port = int(found[1])
                return
            time.sleep(0.01)
        raise RuntimeError(f"the service did not start: {self.log.read_text(encoding='utf-8')}")

    def resident_bytes(self) -> int:
        """Return the memory that it holds now; 0 once it has ended."""
        return self._kib("VmRSS") * 1024

    def most_resident_bytes(self) -> int:
        """Return the most that it held since `forget_the_most`."""
        return self._kib("VmHWM") * 1024

    def forget_the_most(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")

    def _kib(self, name: str) -> int:
        try:
            status = self._status.read_text(encoding="ascii")
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in status.splitlines() if line.startswith(name)), 0)


@contextmanager
def serving(folder: Path, settings: Mapping[str, str]) -> Iterator[Service]:
    """Start the service, give it once it serves, and stop it."""
    tokens = {name: secrets.token_urlsafe(32) for name in ("good", "flood")}
    file, log = folder / "tokens.toml", folder / "service.log"
    digests = {name: hashlib.sha256(token.encode()).hexdigest() for name, token in tokens.items()}
    file.write_text(
        "".join(f'[tokens.{name}]\nsha256 = "{digest}"\nscopes = {_SCOPES}\n' for name, digest in digests.items()),
        encoding="utf-8",
    )
    file.chmod(0o600)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KROS_")}
    environment |= {"KROS_TOKENS_FILE": str(file), **settings}
    command = [sys.executable, "-m", "kros_mcp", "http", "--simulator", "--port", "0"]
    with log.open("wb") as stderr, subprocess.Popen(command, env=environment, stderr=stderr) as process:
        try:
            service = Service(process, log, tokens)
            service.await_start()
            yield service
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
