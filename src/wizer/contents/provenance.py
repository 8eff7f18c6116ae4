"""Who made a module: what its ``producers`` section says, and what our snapshots say of themselves.

https://github.com/WebAssembly/tool-conventions/blob/main/ProducersSection.md
"""

from __future__ import annotations

from wizer.binary import sections as sec
from wizer.binary.module import Module
from wizer.binary.reader import Reader
from wizer.contents.records import Provenance
from wizer.core.previous import is_marker, previous
from wizer.errors import ParseError

PRODUCERS = "producers"
OURS = "wizer-python"  # among the tools of the field "processed-by"


def provenance(module: Module) -> Provenance:
    """Return who made a module."""
    producers: dict[str, dict[str, str]] = {}
    for reader in module.custom_sections(PRODUCERS):
        producers.update(read_producers(reader))
    version, *options = producers.get("processed-by", {}).get(OURS, "").split(" ")
    pairs = (option.partition("=") for option in options if "=" in option)
    marked = any(is_marker(module, section) for section in module.sections)
    return Provenance(
        snapshot=bool(version) or marked,
        version=version,
        options={name: value for name, _, value in pairs},
        restore=_restore_size(module) if marked else 0,
        producers=producers,
    )


def read_producers(reader: Reader) -> dict[str, dict[str, str]]:
    """Return tools and their versions by field; a malformed section yields what stands before the fault."""
    fields: dict[str, dict[str, str]] = {}
    try:
        for _ in range(reader.count()):
            held = fields.setdefault(reader.name(), {})
            for _ in range(reader.count()):
                name = reader.name()
                held[name] = reader.name()
    except ParseError:
        pass
    return fields


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
