"""Secrets that are made up for the tests, so that one pattern finds them wherever they should not stand."""

import re

# The simulator's keys, SIP passwords and webhook secrets, and what tests make up by themselves.
SECRET = re.compile(
    r"canary[0-9a-f]{12}|sip-secret-[0-9a-f]{8}|whsec_[0-9a-f]{8}|kros_test_[0-9a-f]{32}"
    r"|krosmcp_[\w-]{20}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10}"  # callers' tokens: ours, and JWTs
)
