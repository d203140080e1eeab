"""What a scripted agent finds in a tool's text: the summary, and a few documented words with their values.

It relies on no order, no punctuation and no other wording, so that the texts may be rewritten.
"""

import re

ERROR = "[error] "
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_E164 = r"\+[1-9]\d{7,14}\b"
UNDER_WAY = frozenset({"pending", "unknown", "awaiting_approval"})


def summary(text: str) -> str:
    """Return the sentence to say."""
    return text.removeprefix(ERROR).split("\n", 1)[0]


def to_say(text: str) -> str:
    """Return the summary, with what is warned of or was not applied."""
    further = [line for line in text.split("\n")[1:] if re.search(r"^warnings?\b|not.applied|may go nowhere", line)]
    return " ".join([summary(text), *(line for line in further if not line.endswith(": none"))])


def value(text: str, name: str) -> str:
    """Return the value that stands after a name such as `status`; empty if none does."""
    found = re.search(rf"^{name}:? (\S+)", text, re.MULTILINE)
    return "" if found is None or found[1] in {"null", "none"} else found[1].strip(",;.")


def status(text: str) -> str:
    """Return an operation's status; empty for a failure."""
    return value(text, "status")


def operation_id(text: str) -> str:
    """Return the first operation that is named."""
    found = re.search(r"\bop_[a-z2-7]{16}\b", text)
    return found[0] if found else ""


def inventory_ids(text: str) -> list[str]:
    """Return the ids of what is for sale, in their order: each stands on a line with its number."""
    lines = [line for line in text.split("\n")[1:] if re.search(_E164, line)]
    return [found[0] for line in lines if (found := re.search(_UUID, line))]


def seconds_until_again(text: str) -> float:
    """Return after how long a text says that the same may be asked again; 0 if it does not."""
    found = re.search(r"again in (?:about )?(\d+) seconds?", text)
    return float(found[1]) if found else 0.0


def endpoint_ids(text: str) -> dict[str, str]:
    """Return the ids of endpoints by what stands on their lines."""
    lines = {line: re.search(_UUID, line) for line in text.split("\n")}
    return {line: found[0] for line, found in lines.items() if found}


def endpoint_id(text: str, name: str) -> str:
    """Return the id of the endpoint of this name; empty if there is none."""
    return next((found for line, found in endpoint_ids(text).items() if f'"{name}"' in line or f" {name}" in line), "")


def e164s(text: str) -> list[str]:
    """Return every E.164 below the summary, in their order."""
    return list(dict.fromkeys(re.findall(_E164, text.partition("\n")[2])))


def unrouted(text: str) -> list[str]:
    """Return the living numbers of a list whose line names no endpoint."""
    lines = [line for line in text.split("\n")[1:] if not re.search(rf"endpoint\w* \S*({_UUID})|inactive", line)]
    return e164s("\n" + "\n".join(lines))
