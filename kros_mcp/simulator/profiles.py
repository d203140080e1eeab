"""The two documents as rules: what `reference` and `guide` say where they disagree.

`reference` and `guide` are KrosAI's two documents, with the names that they leave out taken from public examples
(docs/krosai.md, section 2). What neither says is INVENTED, and the same in both wherever possible.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ProfileName = Literal["reference", "guide"]
Kyc = Literal["approved", "not_submitted", "initiated", "pending", "declined"]


@dataclass(frozen=True)
class Profile:
    """How KrosAI behaves by one document; how it writes its answers is in `answers.py`."""

    name: ProfileName
    prefixed_ids: bool
    """Ids are `pn_…`, `ep_…`, `inv_…`; otherwise UUIDs."""
    owned_limit: int
    """How many owned numbers an answer has if no limit is given."""
    filters_by_status: bool
    filters_by_area_code: bool
    filters_endpoints: bool
    shows_endpoint_of_number: bool
    """The answer for a single number has name, type and provider of its endpoint."""
    sells_by_e164: bool
    """The dashboard flow: a purchase may name `e164`, `country` and `type` instead of `inventory_id`."""
    takes_flags_at_purchase: bool
    outbound_by_default: bool
    returns_to_pool: bool
    """A released number is for sale again and its record is gone."""
    insufficient_balance_status: int
    not_available_status: int
    kyc_codes: Mapping[Kyc, str]


REFERENCE = Profile(
    name="reference",
    prefixed_ids=False,
    owned_limit=20,
    filters_by_status=False,
    filters_by_area_code=False,
    filters_endpoints=False,
    shows_endpoint_of_number=False,
    sells_by_e164=True,
    takes_flags_at_purchase=False,
    outbound_by_default=False,
    returns_to_pool=False,
    insufficient_balance_status=402,
    not_available_status=400,
    kyc_codes={
        "not_submitted": "KYC_NOT_SUBMITTED",
        "initiated": "KYC_INITIATED",
        "pending": "KYC_PENDING",
        "declined": "KYC_DECLINED",
    },
)

GUIDE = Profile(
    name="guide",
    prefixed_ids=True,
    owned_limit=50,
    filters_by_status=True,
    filters_by_area_code=True,
    filters_endpoints=True,
    shows_endpoint_of_number=True,
    sells_by_e164=False,
    takes_flags_at_purchase=True,
    outbound_by_default=True,
    returns_to_pool=True,
    insufficient_balance_status=400,
    not_available_status=404,
    kyc_codes={
        "not_submitted": "KYC_REQUIRED",
        "initiated": "KYC_REQUIRED",
        "pending": "KYC_PENDING",
        "declined": "KYC_REQUIRED",
    },
)

PROFILES: Mapping[str, Profile] = {"reference": REFERENCE, "guide": GUIDE}
