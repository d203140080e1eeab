"""The settings of the HTTP service; `settings.py` inherits them, so that one object holds all settings."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = tuple(part.strip() for part in value.split(",") if part.strip())
    if not parts:
        raise ValueError("names nothing; leave it empty, or separate its values by commas")
    return parts


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
SHORTEST_KEY = 32
"""The least number of characters of a key in KROS_STATE_KEYS."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class ServiceSettings(BaseSettings):
    """Who may call the HTTP service, under which host names it answers, and what its replicas share."""

    public_url: str | None = Field(
        None, description="where clients reach the service, such as https://numbers.example.com"
    )
    allowed_hosts: CommaSeparated = Field((), description="Host headers answered, beside loopback and the public URL")
    allowed_origins: CommaSeparated = Field((), description="Origin headers answered, beside the service's own")
    trusted_proxies: CommaSeparated = Field((), description="addresses whose X-Forwarded-For is believed")
    requests_per_second: float = Field(20, ge=0, le=100_000, description="of one principal at one replica; 0 for any")
    max_sessions: int = Field(
        1_500, ge=1, le=1_000_000, description="of 2025-11-25 clients at one replica; the oldest idle one gives way"
    )
    max_sessions_per_caller: int = Field(500, ge=1, le=1_000_000, description="of one principal among them")
    session_idle_seconds: float = Field(1800, ge=1, le=7 * 86_400, description="after which a session ends by itself")
    max_connections: int = Field(1_000, ge=1, le=100_000, description="open at once at one process")
    keep_alive_seconds: int = Field(75, ge=1, le=3_600, description="an idle connection is kept so long")
    state_keys: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="secrets that replicas share; the first seals, all open"
    )
    tokens_file: Path | None = Field(None, description="TOML of who may call, made by kros-mcp token")
    oauth_issuer: str | None = Field(None, description="whose JWTs are taken")
    oauth_audience: str | None = Field(None, description="what they are made out to; public URL and /mcp if empty")
    oauth_jwks_url: str | None = Field(None, description="the issuer's keys; its .well-known/jwks.json if empty")
    oauth_algorithms: CommaSeparated = Field(("RS256", "ES256"), description="signatures taken")
    oauth_scope_claim: str = Field("scope", pattern=r"^[\w.:/-]+$", description="where scopes stand; dots go deeper")
    oauth_organization_claim: str | None = Field(
        None, pattern=r"^[\w.:/-]+$", description="where a JWT names its organization; dots go deeper; off if empty"
    )

    @field_validator("state_keys")
    @classmethod
    def _check_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < SHORTEST_KEY for key in value):
            raise ValueError(
                f"holds a key shorter than {SHORTEST_KEY} characters; make one with openssl rand -base64 32"
            )
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:(\d+|\*))?", host.lower()) for host in value):
            raise ValueError("holds something that is no host, such as numbers.example.com or numbers.example.com:8000")
        return tuple(host.lower() for host in value)

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not re.fullmatch(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:\d+)?", origin.lower()) for origin in value):
            raise ValueError("holds something that is no origin, such as https://numbers.example.com")
        return tuple(origin.lower() for origin in value)

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(str(ip_network(proxy)) for proxy in value)
        except ValueError:
            raise ValueError("holds something that is no address or network, such as 10.0.0.5 or 10.0.0.0/8") from None

    @field_validator("public_url", "oauth_issuer", "oauth_jwks_url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = urlsplit(value)
        local = url.scheme == "http" and url.hostname in LOOPBACK
        if "@" in value or not url.hostname or url.query or url.fragment or not (url.scheme == "https" or local):
            raise ValueError("must be an https URL without user, query or fragment; http is taken on loopback only")
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).path.strip("/"):
            raise ValueError("must end with the host or the port; the service answers at /mcp under it")
        return value.rstrip("/") if value else value

    @field_validator("oauth_algorithms")
    @classmethod
    def _check_algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if set(value) - set(_ALGORITHMS):
            raise ValueError(f"takes signatures by public key only: {', '.join(_ALGORITHMS)}")
        return value
