"""A person's hand, as a program: BROWSER names it, and it presses a button of the page that asks.

    BROWSER="python -m … %s", or `as_browser()`; HAND says what it does: `yes`, `no`, `close` (it reads the page and
    answers nothing), `ignore` (it never fetches it) or `tell` (it writes the address into the file HAND_FILE names, for
another browser).

It is a browser as far as the page can see, waits out the second in which a yes is dead, and types the digits that a
release asks for. It imports nothing but the standard library, since it is started for each question.
"""

import os
import re
import sys
import time
from collections.abc import Callable
from html import unescape
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener

DEAD_SECONDS = 1.05
_OPENED = {"user-agent": "Mozilla/5.0 (a hand)", "sec-fetch-site": "none", "sec-fetch-dest": "document"}


def as_browser() -> str:
    """Return what BROWSER has to say, so that this program is started."""
    return f"{sys.executable} {Path(__file__).absolute()} %s"


def press(address: str, does: str | Callable[[str], str]) -> str:
    """Open a page and press a button on it, or the one that `does` names once it has read it; return the last page."""
    opener = build_opener(HTTPCookieProcessor(CookieJar()), ProxyHandler({}))
    with opener.open(Request(address, headers=_OPENED), timeout=10) as opened:  # noqa: S310 - a page of loopback
        page, url = str(opened.read(), "utf-8"), opened.url
    if callable(does):
        does = does(page)
    if does == "close":
        return page
    time.sleep(DEAD_SECONDS)
    form = {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)}
    asked = re.search(r'<label for="digits">[^<]*<span[^>]*>([+\d ]+)', page)  # of several numbers, the one picked
    if 'name="digits"' in page and (number := asked or re.search(r"<h1[^>]*>[^+]*([+\d ]+)", page)):
        form["digits"] = number[1].replace(" ", "")[-4:]
    if 'name="count"' in page and (several := re.search(r"<h1[^>]*>\D*(\d+)", page)):
        form["count"] = several[1]
    parts = urlsplit(url)
    sent = {**_OPENED, "sec-fetch-site": "same-origin", "origin": f"{parts.scheme}://{parts.netloc}"}
    body = urlencode({**form, "decision": does}).encode()
    with opener.open(Request(url, body, sent), timeout=30) as answered:  # noqa: S310 - the same
        return str(answered.read(), "utf-8")


if __name__ == "__main__":
    wanted = os.environ.get("HAND", "yes")
    if wanted == "tell":
        with Path(os.environ["HAND_FILE"]).open("a", encoding="ascii") as told:
            told.write(f"{sys.argv[1]}\n")
    elif wanted != "ignore":
        press(sys.argv[1], wanted)
