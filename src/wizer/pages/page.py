"""A report as a page: one file of HTML, which loads nothing and shows what is in it to people.

Everything that comes from a module is in the document, which the page carries compressed and in letters that
mean nothing in HTML. The script makes text of it, never markup; and the policy of the page lets nothing else
run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final

from wizer.pages.document import Document

_SCRIPTS: Final = ("dom.js", "map.js", "memories.js", "page.js", "details.js", "start.js")
_MOST_RANGES: Final = 5_000  # places where memories differ that a page lists; a document has them all


def page(document: Document) -> str:
    """Return the page of a report."""
    style = _text("page.css")
    script = '"use strict";\n' + "\n".join(map(_text, _SCRIPTS))
    policy = f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    packed = zlib.compress(json.dumps(_columns(document), separators=(",", ":")).encode(), 9)
    return Template(_text("page.html")).substitute(
        policy=policy,
        version=escape(document["wizer"]),
        title=escape(document["title"]),
        style=style,
        script=script,
        document=base64.b64encode(packed).decode(),
    )


def _text(name: str) -> str:
    return files("wizer.pages").joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    """Return what a Content-Security-Policy calls the contents of an element.

    https://www.w3.org/TR/CSP3/#grammardef-hash-source
    """
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _columns(held: Any, name: str = "") -> Any:
    """Return a document with its lists of records in columns: ``{"": keys, key: values}``."""
    if isinstance(held, dict):
        return {key: _columns(value, key) for key, value in held.items()}
    if not isinstance(held, list | tuple) or not held or not isinstance(held[0], dict):
        return held
    if name == "ranges" and len(held) > _MOST_RANGES:
        largest = sorted(held, key=lambda change: -change["differing"])[:_MOST_RANGES]
        held = sorted(largest, key=lambda change: change["start"])
    keys = list(held[0])
    return {"": keys, **{key: [_columns(record[key], key) for record in held] for key in keys}}
