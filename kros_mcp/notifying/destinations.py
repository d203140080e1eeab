"""Where notices go, as the settings say."""

import hashlib
import hmac

from kros_mcp.notifying.message import Destination
from kros_mcp.settings import Settings, webhook_key


def open_destinations(settings: Settings) -> tuple[Destination, ...]:
    """Return every destination that is set; loads what it needs, and sends nothing.

    Raises:
        SettingsError: One cannot be used.
    """
    found: list[Destination] = []
    if settings.webhook_url is not None and settings.webhook_secret is not None:
        from kros_mcp.notifying.webhook import Webhook  # noqa: PLC0415 - where it is set

        key = webhook_key(settings.webhook_secret.get_secret_value())
        found.append(Webhook(settings.webhook_url.get_secret_value(), key))
    if settings.notify_urls:
        from kros_mcp.notifying.services import Service  # noqa: PLC0415 - where they are set

        addresses = dict.fromkeys(each.get_secret_value() for each in settings.notify_urls)
        found += [Service(address, number) for number, address in enumerate(addresses, 1)]
    return tuple(found)


def destination_id(destination: Destination, secret: bytes) -> str:
    """Return the name of a destination in a journal, which does not reveal its address.

    Args:
        destination: Where notices go.
        secret: The journal's own random key.
    """
    return hmac.new(secret, f"destination {destination.address}".encode(), hashlib.sha256).hexdigest()[:32]
