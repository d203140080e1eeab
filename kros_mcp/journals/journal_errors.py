"""Why a journal is not used, each reason with a code of its own and with what its operator can do."""

from pathlib import Path

from kros_mcp.errors import JournalError

EMPTY = "JOURNAL_EMPTY"
FOREIGN = "JOURNAL_FOREIGN"
NEWER = "JOURNAL_NEWER"
DAMAGED = "JOURNAL_DAMAGED"
GONE = "JOURNAL_GONE"
NOT_ITS_LOG = "JOURNAL_LOG"
REPLACED = "JOURNAL_REPLACED"
RESTORED = "JOURNAL_RESTORED"
_PUT_BACK = "Put back the newest copy with kros-mcp restore FILE. Another journal would know nothing of what was spent."
REMEDIES = {
    EMPTY: f"If this machine has never bought anything with it, delete the file and start again. Else: {_PUT_BACK}",
    FOREIGN: "Name another file in KROS_JOURNAL_URL; this one belongs to another program and is left as it was.",
    NEWER: "Update kros-mcp here to the version that wrote it, or to a newer one.",
    DAMAGED: f"Keep the file, and look after the disk. {_PUT_BACK}",
    GONE: (
        "Put the file back where it was, or restore a copy with kros-mcp restore FILE. If the journal was deleted on "
        "purpose, delete what is left beside it as well: what was spent is forgotten then."
    ),
    NOT_ITS_LOG: (
        "Put the file back that belongs to the log; or delete the log, and put back the newest copy with kros-mcp "
        "restore FILE."
    ),
    REPLACED: (
        "End this server, see that KROS_JOURNAL_URL names the journal that is to count, and start it again. To put "
        "back a copy use kros-mcp restore FILE."
    ),
    RESTORED: "Run kros-mcp reconcile with this account's KROS_API_KEY.",
}
"""What an operator can do, by code."""


def empty(path: Path) -> JournalError:
    """Return the error that a file has nothing in it, so that it may be what is left of a journal."""
    return JournalError(
        f"The journal {path} is empty: it may be what is left of a journal that knew what was spent; nothing can be "
        "spent.",
        code=EMPTY,
    )


def foreign() -> JournalError:
    """Return the error that a database is another program's."""
    return JournalError(
        "KROS_JOURNAL_URL names a database that is not a journal of kros-mcp; name another file.", code=FOREIGN
    )


def newer() -> JournalError:
    """Return the error that a newer version wrote it."""
    return JournalError(
        "The journal was written by a newer kros-mcp; update this one. Another journal would know of no spending.",
        code=NEWER,
    )


def damaged() -> JournalError:
    """Return the error that what is needed cannot be read."""
    return JournalError("The journal is damaged or not a journal; nothing can be spent.", code=DAMAGED)


def gone(path: Path, left: Path) -> JournalError:
    """Return the error that a journal is not where it was, by what it left behind."""
    return JournalError(
        f"The journal {path} is not there, and {left.name} beside it shows that it was; nothing can be spent in a new "
        "one.",
        code=GONE,
    )


def not_its_log(log: Path) -> JournalError:
    """Return the error that a log was left by another file of that name."""
    return JournalError(
        f"The journal and {log.name} beside it do not belong together, so that what was spent last cannot be told; "
        "nothing can be spent.",
        code=NOT_ITS_LOG,
    )


def replaced() -> JournalError:
    """Return the error that there is another file in place of the one that was opened."""
    return JournalError(
        "The journal's file is not the one that this server opened: it was deleted, moved or replaced. Nothing can be "
        "spent until the server is started again, after kros-mcp doctor.",
        code=REPLACED,
    )


def put_back() -> JournalError:
    """Return the error that a journal knows less than before."""
    return JournalError(
        "The journal was put back to an earlier state while this server used it. Nothing can be spent until the server "
        "is started again, after kros-mcp doctor.",
        code=REPLACED,
    )


def restored() -> JournalError:
    """Return the error that a restored journal may lack what was bought after its copy was taken."""
    return JournalError(
        "The journal was restored from a copy, and what was bought after that copy is not entered yet; nothing was "
        "charged or changed.",
        code=RESTORED,
        next_step="Tell the operator: run `kros-mcp reconcile` where this server runs.",
    )
