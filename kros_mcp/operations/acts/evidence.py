"""What KrosAI shows that proves a purchase; pure.

What was there before proves nothing. Evidence of a purchase is a record with a new id, or one that had ended and now
lives: a number that was given up and bought again may come back under its old id. A new record that has ended again
is evidence where only a number bears its status that the account has had.
"""

from kros_mcp.krosai import OwnedReading, PhoneNumber, was_had
from kros_mcp.operations.model import Operation, Seen, Snapshot


def snapshot(reading: OwnedReading) -> Snapshot:
    """Keep what the list of owned numbers had before a purchase is sent."""
    return Snapshot(
        records=tuple(
            Seen(
                id=record.id,
                status=record.status,
                created_at=record.created_at,
                updated_at=record.updated_at,
                living=not record.has_ended,
            )
            for record in reading.records
        ),
        unreadable=reading.unreadable,
    )


def bought(operation: Operation, reading: OwnedReading) -> PhoneNumber | None:
    """Return the record that proves the purchase, or None if none does."""
    living = (record for record in reading.records if not record.has_ended)
    held = next((record for record in living if not was_owned_before(operation, record.id)), None)
    given_up = given_up_since(operation, reading)
    return given_up if held is None and given_up is not None and was_had(given_up.status) else held


def given_up_since(operation: Operation, reading: OwnedReading) -> PhoneNumber | None:
    """Return a record that came into being after the purchase was sent and has ended again.

    It may be of a rejected order, or of a number that somebody has given up since.
    """
    if operation.snapshot is None:
        return None
    before = {seen.id for seen in operation.snapshot.records}
    return next((record for record in reading.records if record.has_ended and record.id not in before), None)


def was_owned_before(operation: Operation, number_id: str) -> bool:
    """Whether the account owned the number by this record before the purchase was sent, as far as was written down."""
    before = operation.snapshot
    return before is not None and any(seen.id == number_id and seen.living for seen in before.records)


def is_conclusive(operation: Operation, reading: OwnedReading) -> bool:
    """Whether what the reading does not show is not there.

    A record that cannot be read may be the one looked for, unless it stood there before.
    """
    before = operation.snapshot.unreadable if operation.snapshot else ()
    return reading.complete and set(reading.unreadable) <= set(before)
