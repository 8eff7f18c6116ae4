"""The JSON Schema of ``wizer.toml``, for editors: made from the table that the reader goes by."""

from __future__ import annotations

from typing import Any

from wizer.batch.keys import KEYS


def schema() -> dict[str, Any]:
    """Return the schema, draft 2020-12.

    What the reader asks beyond it: that keys of WASI stand beside ``wasi = true``, and that values of globals
    are named by module and name.
    """
    own = ("input", "inputs", "for-each", "output")
    keys = {key.name: {**key.takes.schema, "description": key.about} for key in KEYS}
    defaults = {name: schema for name, schema in keys.items() if name not in own}

    def table(properties: dict[str, Any], **more: object) -> dict[str, Any]:
        return {"type": "object", "properties": properties, "additionalProperties": False, **more}

    inputs = [
        {"required": ["input"], "not": {"required": ["inputs"]}},
        {"required": ["inputs"], "not": {"anyOf": [{"required": ["input"]}, {"required": ["for-each"]}]}},
    ]
    snapshot = table(keys, required=["output"], oneOf=inputs)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wizer.toml",
        "description": "Which snapshots `wizer build` makes, and how; the same as [tool.wizer].",
        **table(
            {
                "defaults": {**table(defaults), "description": "For all snapshots."},
                "snapshots": {
                    "type": "object",
                    "description": "One table for each snapshot, or for each pattern of them.",
                    "additionalProperties": snapshot,
                },
            }
        ),
    }
