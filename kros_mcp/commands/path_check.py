"""The doctor's look at the way to KrosAI: directly or through which proxy, and which certificate authorities count."""

import os
import re
from pathlib import Path

from kros_mcp.commands.findings import Finding, failed, ok, warn
from kros_mcp.errors import SettingsError
from kros_mcp.krosai import clean
from kros_mcp.krosai.transport import certificates, certificates_source, find_proxy, named_proxy
from kros_mcp.settings import Settings

_LONGEST_PATH = 200
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")


def check_path(settings: Settings) -> list[Finding]:
    """Say which way requests take, and what of the environment stands in it; KrosAI is not asked."""
    return [_proxy(settings.base_url), *_certificates()]


def _proxy(base_url: str) -> Finding:
    try:
        proxy = find_proxy(base_url)
    except SettingsError as exc:
        return failed(exc)
    if proxy is not None:
        return ok(f"KrosAI is reached through the proxy in {proxy.source}: {clean(proxy.place, _LONGEST_PATH)}.")
    if named := named_proxy(base_url):
        return ok(f"KrosAI is reached directly: its host is exempt from the proxy in {named[0]}.")
    return ok("KrosAI is reached directly: no proxy is set for it.")


def _certificates() -> list[Finding]:
    source = certificates_source()
    try:
        certificates()
    except SettingsError as exc:
        return [failed(exc)]
    if source is None:
        return [
            ok("Certificates are checked by the list that comes with httpx: SSL_CERT_FILE and SSL_CERT_DIR are unset.")
        ]
    named = os.environ[source]
    what = f"Certificates are checked by the authorities in {source} alone: {clean(named, _LONGEST_PATH)}."
    if source == "SSL_CERT_DIR" and not any(map(_is_rehashed, named.split(os.pathsep))):
        return [
            warn(f"{what} None can be found there.", "Name the files there by their hashes: openssl rehash FOLDER.")
        ]
    beside = (
        " SSL_CERT_DIR is not read beside it." if source == "SSL_CERT_FILE" and "SSL_CERT_DIR" in os.environ else ""
    )
    return [ok(f"{what}{beside}")]


def _is_rehashed(folder: str) -> bool:
    """Whether a folder holds certificates under the names by which OpenSSL looks for them."""
    path = Path(folder)
    return path.is_dir() and any(_HASHED.fullmatch(file.name) for file in path.iterdir())
