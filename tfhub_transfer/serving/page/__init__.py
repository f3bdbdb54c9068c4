"""The page at `/`: one HTML file that asks the server what any client could ask it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from tfhub_transfer.serving.limits import Limits

__all__ = ["Page", "render"]

_INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


@dataclass(frozen=True)
class Page:
    """The page, and the headers that it is sent with."""

    html: bytes
    headers: dict[str, str]


def render(models: Sequence[str], limits: Limits) -> Page:
    """Return the page for a server of these models.

    The browser is told to run this script and this style, by their hashes, to speak to this server
    and to load nothing else.
    """
    html = resources.files(__name__).joinpath("index.html").read_text(encoding="utf-8")
    hashes: dict[str, list[str]] = {"style": [], "script": []}
    for kind, content in _INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    policy = [
        "default-src 'none'",
        f"script-src {' '.join(hashes['script'])}",
        f"style-src {' '.join(hashes['style'])}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    facts = {
        "models": list(models),
        "maxInstances": limits.max_instances,
        "maxBodyBytes": limits.max_body_bytes,
        "maxTextBytes": limits.max_text_bytes,
    }
    # Data, not script: the policy does not concern it. No name can end the element early.
    data = orjson.dumps(facts).decode().replace("<", "\\u003c")
    html = html.replace("{/* facts */}", data)
    headers = {
        "content-security-policy": "; ".join(policy),
        "cache-control": "no-cache",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    return Page(html.encode(), headers)
