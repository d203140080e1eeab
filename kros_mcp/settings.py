"""The settings, read from the KROS_* environment variables into one frozen object.

Every setting is read once, here. A missing, malformed or unknown KROS_* variable is a `SettingsError` of one sentence:
a misspelt cap must not be no cap.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from kros_mcp import numbering
from kros_mcp.errors import SettingsError
from kros_mcp.service_settings import LOOPBACK, CommaSeparated, ServiceSettings

PREFIX = "KROS_"
DEFAULT_BASE_URL = "https://api.krosai.com/v1"
MEMORY = "sqlite://:memory:"
_SIMULATED: dict[str, Any] = {
    "simulator": True,
    "api_key": "kros_test_simulator",
    "base_url": "https://simulator.invalid/v1",
    "journal_url": MEMORY,
    "organization_id": None,
}
_SECRETS = ("api_key", "journal_url", "state_keys", "webhook_url", "webhook_secret", "notify_urls")
SECRET_FILES = {f"{PREFIX}{field.upper()}_FILE": f"{PREFIX}{field.upper()}" for field in _SECRETS}
"""Variables that name the file in which a secret stands, and the settings that they stand for."""
_UNFILLED = re.compile(r"\$\{user_config\.\w+\}")
"""What Claude Desktop passes for an optional field of an extension that was left empty."""
_VARIABLE = re.compile(r"\$\{.*\}|\{\{.*\}\}|%\w+%")
"""What a client passes for a variable that it does not know."""
_EXAMPLE = re.compile(r"\$\w+|<.*>|(put )?your[-_ ].*", re.IGNORECASE)
"""What documentation and `install --print` show instead of a key."""

_BETWEEN_ADDRESSES = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_WEBHOOK_SECRET = "whsec_"  # noqa: S105 - what every one begins with
_SHORTEST_WEBHOOK_KEY = 24
_ORGANIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NO_ORGANIZATION = frozenset({"null", "undefined", "none", "nil", "true", "false"})


def _whole_cents(value: object) -> object:
    if isinstance(value, str) and not value.strip().isdecimal():
        raise ValueError("must be whole cents without a point, such as 5000 for 50.00")
    return value


def _split_addresses(value: object) -> object:
    """Split at the commas that another address follows: one address may hold commas of its own."""
    return [each for each in _BETWEEN_ADDRESSES.split(value.strip(" ,")) if each] if isinstance(value, str) else value


Cents = Annotated[
    int, Field(ge=0, le=2**53 - 1), BeforeValidator(_whole_cents)
]  # the most that every JSON reader and SQLite keep exactly
Environment = Literal["live", "test", "simulator"]


class Confirmation(StrEnum):
    """How a person says yes."""

    AUTO = "auto"
    PERSON = "person"
    BROWSER = "browser"
    PROMPT = "prompt"
    CONVERSATION = "conversation"
    APPROVER = "approver"

    @property
    def takes_codes(self) -> bool:
        """Whether a code that an agent brings back may stand for a person's yes."""
        return self in {Confirmation.AUTO, Confirmation.CONVERSATION}

    @property
    def shows_prompts(self) -> bool:
        """Whether the client's own prompt may ask the person."""
        return self not in {Confirmation.BROWSER, Confirmation.APPROVER}

    @property
    def opens_pages(self) -> bool:
        """Whether a page on the person's screen may ask them."""
        return self in {Confirmation.AUTO, Confirmation.PERSON, Confirmation.BROWSER}


_STRICTNESS = {
    Confirmation.AUTO: 0,
    Confirmation.CONVERSATION: 0,
    Confirmation.PERSON: 1,
    Confirmation.PROMPT: 1,
    Confirmation.BROWSER: 1,
    Confirmation.APPROVER: 2,
}
"""Whether an agent's code may stand for a yes, or a person has to answer, or an approver outside the conversation."""


def is_laxer(way: Confirmation, service: Confirmation) -> bool:
    """Whether a way of saying yes asks for less than the service's, so that it has no effect."""
    return stricter(way, service) is not way


def stricter(service: Confirmation, *others: Confirmation | None) -> Confirmation:
    """Return the strictest of some ways of saying yes; of equals the first, so that a caller's changes nothing."""
    return max((service, *(other for other in others if other is not None)), key=_STRICTNESS.__getitem__)


class Settings(ServiceSettings):
    """All settings; amounts in cents, times in seconds unless named otherwise."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    api_key: SecretStr | None = Field(None, description="kros_live_…, kros_test_… or a Supabase JWT")
    base_url: str = Field(DEFAULT_BASE_URL, description="where KrosAI answers")
    auth_header: Literal["bearer", "x-api-key"] = Field("bearer", description="how the key is sent")
    organization_id: str | None = Field(None, description="organization to act for; KrosAI's first if empty")
    journal_url: str | None = Field(
        None, repr=False, description="sqlite:////absolute/path, sqlite:///relative or postgresql://host/name"
    )
    currency: str = Field("", max_length=20, description="label of the account's currency, such as USD")
    principal: str = Field("local", min_length=1, max_length=200, description="who acts, on stdio")
    confirmation: Confirmation = Field(Confirmation.AUTO, description="how a person says yes")
    approval_above_cents: Cents | None = Field(
        None, description="purchases over this wait for an approver; off if empty"
    )
    approval_hours: float = Field(24, gt=0, le=24 * 30, description="how long an approver may take")
    answer_within_seconds: float = Field(4, ge=0.5, le=300, description="every tool answers within this")
    # At least as long as a purchase may be on its way: 10 seconds of trying and 30 of waiting for the answer.
    settle_seconds: float = Field(120, ge=0, le=86_400, description="wait before a lost answer may count as failed")
    requests_per_day: int | None = Field(
        None, ge=1, le=2**31 - 1, description="requests to KrosAI in any 24 hours; any number if empty"
    )
    read_only: bool = Field(default=False, description="refuse everything but reading")
    max_purchase_cents: Cents = Field(5_000, description="setup plus first month of one number")
    daily_budget_cents: Cents = Field(20_000, description="spent in any 24 hours, unknown outcomes included")
    total_daily_budget_cents: Cents | None = Field(
        None, description="spent in any 24 hours by all accounts of the journal together; off if empty"
    )
    monthly_commitment_cents: Cents | None = Field(None, description="run rate of all owned numbers; off if empty")
    principal_daily_budget_cents: Cents | None = Field(
        None, description="what this principal may spend in 24 hours; off if empty"
    )
    principal_monthly_commitment_cents: Cents | None = Field(
        None, description="run rate of what this principal bought; off if empty"
    )
    allowed_countries: CommaSeparated = Field(
        (), description="where numbers may be bought, such as NG,KE; all if empty"
    )
    protected_numbers: CommaSeparated = Field(
        (), description="E.164, comma-separated: never released, changed only after a yes"
    )
    allow_permanent_delete: bool = Field(default=False, description="let release delete the record too")
    allow_unpriced: bool = Field(default=False, description="let numbers be bought whose price KrosAI does not state")
    webhook_url: SecretStr | None = Field(
        None, description="where what happens is told to, as signed JSON; nowhere if empty"
    )
    webhook_secret: SecretStr | None = Field(
        None, description="whsec_… and base64, by which webhooks are signed; needed with KROS_WEBHOOK_URL"
    )
    notify_urls: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_addresses)] = Field(
        (), repr=False, description="addresses of Apprise, comma-separated, at which people are told; needs its extra"
    )
    simulator: bool = Field(default=False, exclude=True, description="set by --simulator, not by the environment")

    @model_validator(mode="before")
    @classmethod
    def _unset_placeholders(cls, data: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in data.items() if not (isinstance(value, str) and is_unset(value))}
        if isinstance(key := given.get("api_key"), str) and (_is_variable(key) or _EXAMPLE.fullmatch(key.strip())):
            del given["api_key"]
        # Any other is refused: a cap whose variable was misspelt must not be no cap.
        if left := next((name for name, value in given.items() if isinstance(value, str) and _is_variable(value)), ""):
            raise ValueError(
                f"{PREFIX}{left.upper()} still holds the placeholder of a variable; set that variable, or put the "
                "value itself here"
            )
        return given

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        if "@" in value:  # refused before it is parsed: the parser's error might quote the password
            raise ValueError("must be an https URL without user, query or fragment")
        url = urlsplit(value.strip())
        if url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment:
            raise ValueError("must be an https URL without user, query or fragment")
        if url.scheme == "http" and url.hostname not in LOOPBACK:
            raise ValueError("must be https, since the API key is sent there; http is allowed on loopback only")
        # One spelling for one address: it names the account, and with it the budget.
        default = {"http": 80, "https": 443}[url.scheme]
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname.rstrip(".")
        port = f":{url.port}" if url.port not in {None, default} else ""
        return url._replace(netloc=f"{host}{port}").geturl().rstrip("/")

    @field_validator("organization_id")
    @classmethod
    def _check_organization(cls, value: str | None) -> str | None:
        if value in {
            "null",
            "undefined",
        }:  # what a client's form makes of an empty field: it would name another account
            raise ValueError("must be an organization's id, or empty for KrosAI's first")
        return value

    @field_validator("journal_url")
    @classmethod
    def _check_journal_url(cls, value: str | None) -> str | None:
        if value in {None, MEMORY}:
            return value
        if is_postgres(value):
            if "@" in (value or "").split("://", 1)[1].partition("/")[2].partition("?")[0]:
                raise ValueError("holds a password with a slash; write it as %2F, a question mark as %3F")
            return value
        if not re.match(r"sqlite:///.+", value or "") or (value or "").endswith(":memory:"):
            raise ValueError("must be sqlite:////absolute/path, sqlite:///relative/path or postgresql://...")
        return value

    @field_validator("allowed_countries")
    @classmethod
    def _check_countries(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(numbering.parse_country(country) for country in value)

    @field_validator("protected_numbers")
    @classmethod
    def _check_numbers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(numbering.parse_e164(number) for number in value)

    @field_validator("webhook_url")
    @classmethod
    def _check_webhook_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        text, problem = value.get_secret_value(), "must be an https URL without user or fragment"
        try:
            url = urlsplit(text)
            host, _ = url.hostname, url.port
        except ValueError:  # which quotes what it could not read
            raise ValueError(problem) from None
        plain = text.isascii() and text.isprintable() and " " not in text
        if not plain or "@" in url.netloc or not host or url.fragment or url.scheme not in {"http", "https"}:
            raise ValueError(problem)
        if url.scheme == "http" and host not in LOOPBACK:
            raise ValueError("must be https; http is taken on loopback only")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _check_webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(webhook_key(value.get_secret_value())) < _SHORTEST_WEBHOOK_KEY:
            raise ValueError(
                f"must be whsec_ and at least {_SHORTEST_WEBHOOK_KEY} bytes in base64; make one with "
                'echo "whsec_$(openssl rand -base64 32)"'
            )
        return value

    @field_validator("notify_urls")
    @classmethod
    def _check_notify_urls(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any("://" not in each.get_secret_value() for each in value):
            raise ValueError("holds something that is no address of Apprise, such as ntfy://topic")
        return value

    @model_validator(mode="after")
    def _check_webhook(self) -> Self:
        if (self.webhook_url is None) is not (self.webhook_secret is None):
            raise ValueError("KROS_WEBHOOK_URL and KROS_WEBHOOK_SECRET go together; one of them is missing")
        return self

    @model_validator(mode="after")
    def _check_api_key(self) -> Self:
        key = self.api_key.get_secret_value() if self.api_key else ""
        strange = any(character.isspace() or not character.isprintable() or character in "\"'<>" for character in key)
        if strange or not key.isascii() or "..." in key:
            raise ValueError(
                "KROS_API_KEY holds blanks or characters that no key has; put the whole key in place of any "
                "placeholder, without quotes"
            )
        return self

    @model_validator(mode="after")
    def _check_memory(self) -> Self:
        if self.journal_url == MEMORY and self.api_key is not None and self.environment == "live":
            raise ValueError("KROS_JOURNAL_URL is in memory, which forgets budgets and outcomes: not for a live key")
        return self

    @property
    def tells_people(self) -> bool:
        """Whether anybody elsewhere is told of what happens."""
        return self.webhook_url is not None or bool(self.notify_urls)

    @property
    def environment(self) -> Environment:
        """Where money moves: "live" for everything but a test key and the simulator."""
        if self.simulator:
            return "simulator"
        return "test" if self.require_api_key().startswith("kros_test_") else "live"

    def require_api_key(self) -> str:
        """Return the API key, or raise a `SettingsError` that says how to set it."""
        if self.api_key is None:
            raise SettingsError(
                "KROS_API_KEY is missing; set it to a KrosAI key, in place of any placeholder, or try --simulator, "
                "which needs none."
            )
        return self.api_key.get_secret_value()

    def require_principal(self) -> None:
        """Raise if the journal can be shared and no principal is set: two people must not look like one by default.

        Raises:
            SettingsError: The journal is PostgreSQL, and KROS_PRINCIPAL is not set.
        """
        if is_postgres(self.journal_url) and "principal" not in self.model_fields_set:
            raise SettingsError(
                "KROS_PRINCIPAL is missing: a journal in PostgreSQL is shared, so say who acts here, such as a "
                "person's or an agent's name."
            )

    def account(self, secret: bytes) -> str:
        """Return a name for this KrosAI account that does not reveal its key.

        Args:
            secret: The journal's own random key, so that names differ from journal to journal.

        Returns:
            32 hexadecimal characters, derived from base URL, environment and organization, or without an organization
            from base URL and API key. Of a JWT only issuer and subject count, since the token changes every hour.
        """
        if self.organization_id:
            return _named(secret, "organization", self.base_url, self.environment, self.organization_id)
        return _named(secret, self.base_url, "", _identity(self.require_api_key()))

    def request_key(self, secret: bytes) -> str:
        """Return a name for the API key, under which requests are counted for all its organizations.

        Args:
            secret: The journal's own random key.
        """
        return _named(secret, "requests", self.base_url, _identity(self.require_api_key()))

    def former_account(self, secret: bytes) -> str | None:
        """Return the name of this account in earlier versions, which included the key; None if it is still the same."""
        if not self.organization_id:
            return None
        return _named(secret, self.base_url, self.organization_id, _identity(self.require_api_key()))


def organization_named(value: object, own: str | None) -> str:
    """Return the organization that a caller's token names; empty where that is the service's own.

    Budgets and books go by the id, so one that could be taken for another is none.

    Args:
        value: As the token states it.
        own: The service's own organization.

    Raises:
        ValueError: It is no organization's id, or one that is spelt otherwise than the service's own, or than KrosAI
            spells it.
    """
    if not isinstance(value, str) or not _ORGANIZATION.fullmatch(value) or value.lower() in _NO_ORGANIZATION:
        raise ValueError("must be an organization's id, of up to 128 letters, digits and ._:@+-")
    if value == own:
        return ""
    if own is not None and value.lower() == own.lower():
        raise ValueError("must be spelt as in KROS_ORGANIZATION_ID")
    if _UUID.fullmatch(value) and value != value.lower():
        raise ValueError("must be in lower case, as KrosAI writes it")
    return value


def for_organization(settings: Settings, organization: str) -> Settings:
    """Return the settings by which another organization is acted for; these themselves if it is empty."""
    return settings.model_copy(update={"organization_id": organization}) if organization else settings


def load_settings(*, simulator: bool = False) -> Settings:
    """Read the settings from the environment.

    Args:
        simulator: Use a simulated KrosAI and a journal in memory; no key is needed.

    Raises:
        SettingsError: A KROS_* variable is malformed or unknown, or a secret's file cannot be used. It names the
            variable.
    """
    _refuse_unknown()
    overrides: dict[str, Any] = _SIMULATED if simulator else {}
    overrides = {field: text for field in _SECRETS if field not in overrides and (text := _in_file(field))} | overrides
    try:
        return Settings(**overrides)
    except ValidationError as exc:
        sentence = _sentence(exc)
    # Raised outside the `except`, since the validation error that would be its context quotes the key.
    raise SettingsError(sentence)


def load_tokens_file() -> Path | None:
    """Return KROS_TOKENS_FILE alone, for commands that need no account; other values are not checked.

    Raises:
        SettingsError: A KROS_* variable is unknown. It names the variable.
    """
    _refuse_unknown()
    given = _given("TOKENS_FILE")
    return None if is_unset(given) else Path(given)


def load_approval() -> tuple[Confirmation | None, int | None]:
    """Return KROS_CONFIRMATION and KROS_APPROVAL_ABOVE_CENTS alone; None where they are not set, or not usable."""
    way, above = _given("CONFIRMATION").strip(), _given("APPROVAL_ABOVE_CENTS").strip()
    known = next((each for each in Confirmation if each == way), None)
    return known, int(above) if above.isdecimal() else None


def _given(setting: str) -> str:
    return next((value for name, value in os.environ.items() if name.upper() == f"{PREFIX}{setting}"), "")


def _in_file(field: str) -> str:
    """Return a secret out of its file; empty if none is named.

    No error shows the file's name: it may be the secret itself, put into the wrong variable.

    Raises:
        SettingsError: The secret is given twice, or the file cannot be read or is empty.
    """
    setting, variable = f"{PREFIX}{field.upper()}", f"{PREFIX}{field.upper()}_FILE"
    named = _given(f"{field.upper()}_FILE")
    if is_unset(named):
        return ""
    if not is_unset(_given(field.upper())):
        raise SettingsError(f"{setting} and {variable} are both set, and only one of both can be meant; unset one.")
    try:
        text = Path(named).read_text(encoding="utf-8-sig").strip()
        reason = "" if text else "it is empty"
    except OSError as exc:
        text, reason = "", exc.strerror or "it cannot be read"
    except ValueError:
        text, reason = "", "it is not in UTF-8"
    if reason:
        raise SettingsError(f"{variable} names a file that cannot be used: {reason}.")
    return ",".join(text.splitlines()) if field == "state_keys" else text


def _refuse_unknown() -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields if field != "simulator"} | SECRET_FILES.keys()
    for name in os.environ:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            nearest = get_close_matches(name.upper(), sorted(known), n=1, cutoff=0.0)[0]
            raise SettingsError(f"{name} is not a setting of kros-mcp; the nearest known one is {nearest}.")


def webhook_key(secret: str) -> bytes:
    """Return the key that a secret of KROS_WEBHOOK_SECRET stands for; empty where it is none."""
    begin, _, text = secret.partition(_WEBHOOK_SECRET)
    try:
        return b"" if begin or not text else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def is_unset(value: str) -> bool:
    """Whether a value is blank, or a placeholder that a client did not replace."""
    return not value.strip() or _UNFILLED.fullmatch(value.strip()) is not None


def _is_variable(value: str) -> bool:
    return _VARIABLE.fullmatch(value.strip()) is not None


def is_postgres(journal_url: str | None) -> bool:
    """Whether a journal is a PostgreSQL database, which several machines may share."""
    return (journal_url or "").startswith(("postgresql://", "postgres://"))


def default_journal_path() -> Path:
    """Return the default path of the journal, in the user's state directory."""
    import platformdirs  # noqa: PLC0415 - 12 ms that only this needs

    return Path(platformdirs.user_state_dir("kros-mcp", appauthor=False)) / "journal.sqlite3"


def _named(secret: bytes, *parts: str) -> str:
    return hmac.new(secret, json.dumps(parts).encode(), hashlib.sha256).hexdigest()[:32]


def _identity(api_key: str) -> str:
    parts = api_key.split(".")
    if len(parts) == 3:  # noqa: PLR2004 - a JWT has three parts
        try:
            claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        except (binascii.Error, ValueError):
            return api_key
        if isinstance(claims, dict) and claims.get("sub"):
            return json.dumps(["jwt", claims.get("iss"), claims["sub"]])
    return api_key


def _sentence(exc: ValidationError) -> str:
    problem = exc.errors(include_url=False, include_input=False, include_context=False)[0]
    reason = problem["msg"].removeprefix("Value error, ").rstrip(".")
    if not problem["loc"]:
        return f"{reason}."
    reason = {"bool_parsing": "must be true or false"}.get(problem["type"], reason)
    name = PREFIX + str(problem["loc"][0]).upper()
    return f"{name} is not usable: {reason[0].lower()}{reason[1:]}."
