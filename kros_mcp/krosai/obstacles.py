"""What stands between this program and KrosAI, told of a request that certainly never left.

Which obstacle it was is read off the foreign errors; none of their text is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from kros_mcp.errors import NotSentError, PathError

if TYPE_CHECKING:
    from kros_mcp.krosai.proxy import Proxy

_UNSENT: Final = "nothing was sent"
_NAME_THE_AUTHORITY: Final = (
    "Nothing was ordered. Tell the operator: a company's proxy may stand in between; name its certificate authority in "
    "SSL_CERT_FILE where this server runs."
)
_CHECK_THE_CLOCK: Final = (
    "Nothing was ordered. Tell the operator: check the date of the machine where this server runs; if it is right, the "
    "certificate has to be renewed by those who answer there."
)
_CHECK_THE_NAME: Final = (
    "Nothing was ordered. Tell the operator: check KROS_BASE_URL, and whether a proxy or a login page answers in its "
    "place."
)
# By OpenSSL's numbers, X509_V_ERR_...: what is said after "certificate", and what to do.
_CERTIFICATES: Final = {
    **dict.fromkeys((2, 18, 19, 20, 21), ("is not trusted here (unknown issuer)", _NAME_THE_AUTHORITY)),
    9: ("is not valid yet, by this machine's clock", _CHECK_THE_CLOCK),
    10: ("has expired, by this machine's clock", _CHECK_THE_CLOCK),
    **dict.fromkeys((62, 64), ("is for another name than the one in KROS_BASE_URL", _CHECK_THE_NAME)),
}
_OTHER_CERTIFICATE: Final = ("is not accepted here", _NAME_THE_AUTHORITY)
_STATUS: Final = re.compile(r"(\d{3})\b")
_LOGIN_STATUS: Final = 407
_PASSING: Final = frozenset({408, 425, 429})
_FIRST_SERVER_ERROR: Final = 500
# How httpcore begins what it says of a SOCKS proxy that wants another login, or forbids the address.
_SOCKS_LOGIN: Final = ("Requested ", "Invalid username/password")
_SOCKS_FORBIDS: Final = "Proxy Server could not connect: Connection not allowed"


def not_sent(failure: Exception | None, proxy: Proxy | None) -> NotSentError:
    """Make the error for a request that never left.

    Args:
        failure: How it ended; None stands for our own time limit.
        proxy: What it had to go through.

    Returns:
        A PathError where the same obstacle would stop the next request as well.
    """
    import ssl  # noqa: PLC0415  # the same

    import httpx  # noqa: PLC0415  # 65 ms, and whoever failed has loaded it

    for cause in _causes(failure):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _certificate(cause.verify_code, proxy)
    if proxy is None:
        return NotSentError(f"KrosAI could not be reached; {_UNSENT}.")
    refusal = _refusal(str(failure), proxy) if isinstance(failure, httpx.ProxyError) else None
    return refusal or NotSentError(
        f"KrosAI could not be reached through the proxy in {proxy.source}; {_UNSENT}.",
        next_step="Nothing was ordered. Try again in a moment; if it stays so, tell the operator to check that proxy.",
    )


def _certificate(verify_code: int, proxy: Proxy | None) -> PathError:
    fault, next_step = _CERTIFICATES.get(verify_code, _OTHER_CERTIFICATE)
    whose = "KrosAI's certificate"
    if proxy is not None and proxy.is_reached_by_tls:
        whose = f"The certificate of KrosAI, or of the proxy in {proxy.source},"
    return PathError(f"{whose} {fault}; {_UNSENT}.", code="CERTIFICATE_REFUSED", next_step=next_step)


def _refusal(told: str, proxy: Proxy) -> PathError | None:
    """Say what a proxy refuses for good; None where it may be of the moment."""
    found = _STATUS.match(told)
    status = int(found[1]) if found else None
    if status == _LOGIN_STATUS or told.startswith(_SOCKS_LOGIN):
        does = "does not accept the login that stands there" if proxy.has_login else "wants a login"
        to_do = f"put the proxy's user and password into {proxy.source}, as in user:password@host:port."
    elif told.startswith(_SOCKS_FORBIDS) or (
        status is not None and status < _FIRST_SERVER_ERROR and status not in _PASSING
    ):
        does = "does not let requests through to KrosAI"
        to_do = "have the address in KROS_BASE_URL allowed there, or exempt it in NO_PROXY where it can be reached."
    else:
        return None
    number = "" if status is None else f" ({status})"
    return PathError(
        f"The proxy in {proxy.source} {does}{number}; {_UNSENT}.",
        code="PROXY_REFUSED",
        next_step=f"Nothing was ordered. Tell the operator: {to_do}",
    )


def _causes(failure: BaseException | None) -> Iterator[BaseException]:
    while failure is not None:
        yield failure
        failure = failure.__cause__ or failure.__context__  # httpcore cuts the former
