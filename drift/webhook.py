"""A message as JSON to an address of the web, by POST: for chat rooms, pagers and other programs."""

import os
import urllib.error
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit

from contracts.mail_rules import is_web_address
from drift.smtp import Refusal

_READ = 4096  # an answer says nothing that matters beyond its status
_LATER = (408, 425, 429)


def post(where: str, payload: bytes, key: str, timeout_s: float = 10.0) -> Refusal | None:
    """Posts once; None when it was taken, else why not. Never raises, and tells the host but not the address.

    `where` is as in mail.webhook. An address elsewhere that the server sends back is not followed: what was posted to
    one host is for no other. `key` is the same for each attempt, so that a receiver can tell a repeated one.
    """
    url = os.environ.get(where.removeprefix("env:"), "") if where.startswith("env:") else where
    if not is_web_address(url):
        return Refusal(f"{where if where.startswith('env:') else 'mail.webhook'} holds no http(s) address", False)
    host = urlsplit(url).hostname
    headers = {"Content-Type": "application/json", "Idempotency-Key": key, "User-Agent": "tiltyard"}
    request = urllib.request.Request(url, payload, headers, method="POST")
    try:
        with _opener().open(request, timeout=timeout_s) as response:
            response.read(_READ)
    except urllib.error.HTTPError as error:
        with error:
            moved = "; it points elsewhere, which is not followed" if 300 <= error.code < 400 else ""
            return Refusal(f"{host}: {error.code}{moved}", error.code >= 500 or error.code in _LATER)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return Refusal(f"{host}: {' '.join(str(reason).split()) or type(error).__name__}", True)
    return None


def _opener() -> urllib.request.OpenerDirector:
    """Knows http and https alone, through the proxies of the environment, and follows nothing."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
