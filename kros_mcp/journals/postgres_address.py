"""Where a PostgreSQL URL leads, read as libpq reads it; no credential is kept."""

import os
from dataclasses import dataclass

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kros_mcp.service_settings import LOOPBACK

_VERIFIED = frozenset({"verify-ca", "verify-full"})


class InvalidAddressError(ValueError):
    """libpq cannot read the URL, or reads it otherwise than was meant."""


@dataclass(frozen=True)
class Address:
    """Hosts (or folders of sockets), port and database, as the URL names them; empty where libpq chooses."""

    hosts: tuple[str, ...]
    port: str
    database: str
    sslmode: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """Read a URL.

        Raises:
            InvalidAddressError: It is none.
        """
        try:
            said = {name: str(value) for name, value in conninfo_to_dict(url).items()}
        except ProgrammingError:
            raise InvalidAddressError from None  # what libpq says quotes the URL
        hosts = tuple(host for name in ("host", "hostaddr") for host in said.get(name, "").split(",") if host)
        if "@" in said.get("dbname", "") + "".join(hosts):
            raise InvalidAddressError  # a password that was not percent-encoded ends up there
        sslmode = said.get("sslmode") or os.environ.get("PGSSLMODE", "")
        return cls(hosts, said.get("port", ""), said.get("dbname", ""), sslmode)

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        named = ",".join(host for host in self.hosts if not host.startswith("/"))
        return f"postgresql://{named}{port}/{self.database}"

    @property
    def is_unverified(self) -> bool:
        """Whether another machine is meant, and its certificate is not verified."""
        elsewhere = [host for host in self.hosts if not host.startswith("/") and host not in LOOPBACK]
        return bool(elsewhere) and self.sslmode not in _VERIFIED


def without_password(url: str) -> str:
    """Write where a URL leads as libpq's programs take it, without any secret.

    Raises:
        InvalidAddressError: It is none.
    """
    Address.of(url)
    said = conninfo_to_dict(url)
    return make_conninfo("", **{name: value for name, value in said.items() if name not in {"password", "sslpassword"}})
