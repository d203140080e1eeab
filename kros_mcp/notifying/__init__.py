"""Tells people elsewhere what happened: signed webhooks, and the services that Apprise knows."""
