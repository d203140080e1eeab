"""Which organizations a journal's accounts are."""

# ruff: noqa: S608 - statements are built from constants of this program; values go by marks

from kros_mcp.journals.rows import Work
from kros_mcp.operations.journal import NamedOrganization

_COLUMNS = "account, organization, issuer, key"


def note(table: str, named: NamedOrganization) -> Work[None]:
    """Write down that an issuer has vouched for a caller of an organization, unless it stands there."""
    where = "account = ? AND issuer = ? AND key = ?"
    if not (yield f"SELECT 1 FROM {table} WHERE {where}", (named.account, named.issuer, named.key)):
        values = (named.account, named.organization, named.issuer, named.key)
        yield f"INSERT INTO {table} ({_COLUMNS}) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", values


def every(table: str) -> Work[tuple[NamedOrganization, ...]]:
    """Read all that were written down."""
    rows = yield f"SELECT {_COLUMNS} FROM {table} ORDER BY {_COLUMNS}", ()
    return tuple(NamedOrganization(*row) for row in rows)


def restless(table: str, open_now: str, watched: str, now: float) -> Work[tuple[NamedOrganization, ...]]:
    """Read those that have something to be looked after at present.

    Args:
        table: Of the organizations.
        open_now: A statement that yields the accounts with something open.
        watched: One that yields those with something to be looked at, at the time that its mark stands for.
        now: That time.
    """
    rows = yield f"SELECT {_COLUMNS} FROM {table} WHERE account IN ({open_now} UNION {watched})", (now,)
    return tuple(NamedOrganization(*row) for row in rows)
