"""Who made a module: what its ``producers`` section says, and what our snapshots say of themselves."""

from __future__ import annotations

from contextlib import suppress

from wizer.binary import sections as sec
from wizer.binary.module import Module
from wizer.contents.records import Provenance
from wizer.core.previous import is_marker, previous
from wizer.core.producers import OURS, PRODUCERS, options, read_producers
from wizer.errors import ParseError


def provenance(module: Module) -> Provenance:
    """Return who made a module."""
    producers: dict[str, dict[str, str]] = {}
    for reader in module.custom_sections(PRODUCERS):
        with suppress(ParseError):
            producers.update(read_producers(reader))
    stamp = producers.get("processed-by", {}).get(OURS, "")
    marked = any(is_marker(module, section) for section in module.sections)
    return Provenance(
        snapshot=bool(stamp) or marked,
        version=stamp.partition(" ")[0],
        options=options(stamp),
        restore=_restore_size(module) if marked else 0,
        producers=producers,
    )


def _restore_size(module: Module) -> int:
    """Return the bytes of the functions that a snapshot appended."""
    from wizer.binary.instructions import bodies

    section = module.section(sec.CODE)
    try:
        appended = previous(module)
        if section is None or appended is None or not appended.funcs:
            return 0
        return sum(end - start for start, end in [*bodies(section.reader(module.wasm))][-appended.funcs :])
    except (ParseError, IndexError):  # a broken module
        return 0
