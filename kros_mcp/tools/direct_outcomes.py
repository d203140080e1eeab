"""The result of changes of numbers that are not protected; its sentences come from `owned_texts.py`."""

from collections.abc import Sequence

from kros_mcp.errors import Known, KrosError, OperationError
from kros_mcp.krosai import NOT_STATED, EndpointList
from kros_mcp.operations import dangling
from kros_mcp.operations.acts import routing
from kros_mcp.operations.batch import joint
from kros_mcp.operations.direct_change import DirectChange
from kros_mcp.operations.status import Status
from kros_mcp.tools import outcomes, owned_texts, results
from kros_mcp.tools.owned_results import owned_number


def endpoints_of(changes: Sequence[DirectChange]) -> set[str]:
    """Return the ids of the endpoints that the numbers had and have."""
    numbers = (number for change in changes for number in (change.before, change.after) if number is not None)
    return {number.endpoint_id for number in numbers if number.endpoint_id}


def changed(changes: Sequence[DirectChange], endpoints: EndpointList) -> results.Configured:
    """Show what changes of settings came to; `pending` while one of them is still under way.

    Args:
        changes: Each of the numbers, in the order of the call.
        endpoints: What was read of endpoints.

    Raises:
        KrosError: None of the numbers was changed, as far as is known.
    """
    if all(change.error is not None for change in changes):
        raise _all_failed(changes)
    items = [_item(change, endpoints) for change in changes]
    alone = items[0] if len(items) == 1 else None
    after = changes[0].after
    now = [change.after for change in changes if change.after is not None]
    status = _status(changes)
    return results.Configured(
        summary=owned_texts.changed_summary(
            items,
            dangling.troubles(endpoints, endpoints_of(changes)),
            [number for number in now if number.has_ended],
        ),
        status=status,
        waits_for=None,
        before=alone.before if alone else None,
        after=alone.after if alone else None,
        not_applied=alone.not_applied if alone else [],
        operation_id=None,
        quote=None,
        expires_at=None,
        confirmation_code=None,
        charged="no",
        changed=joint(item.changed for item in items),
        number=owned_number(after, endpoints) if alone and after else None,
        decided_through=None,
        items=None if alone else items,
        warnings=dangling.warnings(now, endpoints) + owned_texts.no_longer_owned(now),
        next_step=owned_texts.after_change(items, status),
    )


def _status(changes: Sequence[DirectChange]) -> Status:
    if any(change.after is None and change.error is None for change in changes):
        return "pending"
    return "partly_done" if any(change.error is not None for change in changes) else "done"


def _item(change: DirectChange, endpoints: EndpointList) -> results.ChangedItem:
    return results.ChangedItem(
        number_id=change.before.id,
        e164=change.before.e164,
        before=outcomes.routing(owned_number(change.before, endpoints)),
        after=outcomes.routing(owned_number(change.after, endpoints)) if change.after else None,
        not_applied=list(change.not_applied),
        changed=_changed(change),
        code=change.error.code if change.error else None,
        message=change.error.message if change.error else None,
    )


def _changed(change: DirectChange) -> Known:
    """Whether a change took place.

    One that KrosAI has only accepted may still come about, and of an endpoint that it does not state nothing is known.
    """
    if change.error is not None:
        return change.error.changed
    if change.after is None:
        return "unknown"
    before, after = change.before, change.after
    same_flags = (before.allow_inbound, before.allow_outbound) == (after.allow_inbound, after.allow_outbound)
    same_endpoint = before.endpoint_id == after.endpoint_id
    if not same_flags or not (same_endpoint or NOT_STATED in {before.endpoint_id, after.endpoint_id}):
        return "yes"
    is_known = same_endpoint and routing.ignored(after, change.not_applied) == change.not_applied
    return "no" if is_known and not change.deferred else "unknown"


def _all_failed(changes: Sequence[DirectChange]) -> KrosError:
    errors = [(change.before.e164, change.error) for change in changes if change.error is not None]
    first = errors[0][1]
    if len(errors) == 1:
        return first
    error = OperationError(owned_texts.none_changed(errors), code=first.code, next_step=first.next_step)
    error.changed = joint(each.changed for _, each in errors)
    return error
