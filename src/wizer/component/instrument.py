"""Instrument: make the state of the core instances inside a component readable.

Before::

    (component
      (core module $m …)
      (core instance $i (instantiate $m))
      …)

After::

    (component
      (core module $m … (global (export "wizer:module") i32 (i32.const 0)) … accessors)
      (core instance $i (instantiate $m))
      …
      (core module $w
        (global $g (export "wizer:mark") (mut i32) (i32.const 0))
        (func (export "mark") (global.set $g (i32.add (global.get $g) (i32.const 1)))))
      (core instance $x (instantiate $w))
      (func (export "wizer-mark") (canon lift (core func $x "mark"))))

Every module says by an exported global which one it is, and ``wizer-mark`` leaves a trace by which the
engine's core instances are told from those of another instance of the same component.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wizer.binary import code
from wizer.binary import sections as sec
from wizer.binary.assemble import assemble, extended
from wizer.binary.expr import END, encode_const
from wizer.binary.externs import Export, GlobalType, encode_export, encode_globaltype, encode_name
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import parse_module
from wizer.binary.types import FuncType, encode_functype
from wizer.component import items as it
from wizer.component.drops import note_drops
from wizer.component.encode import Chunk, section, vector_section, with_modules
from wizer.component.instances import Instances
from wizer.component.items import Component, Item
from wizer.instrument import Accessors, instrument

INSTANCE_MARKER: Final = "wizer:mark"


@dataclass(frozen=True, slots=True)
class InstrumentedComponent:
    """What was made of a component.

    Attributes:
        wasm: the instrumented component.
        accessors: those of each module that is instantiated, by where it begins in the original.
        markers: likewise, the value by which its instances are known.
        mark: the exported component function that leaves the trace.
    """

    wasm: bytes
    accessors: Mapping[int, Accessors]
    markers: Mapping[int, int]
    mark: str


def instrument_component(instances: Instances) -> InstrumentedComponent:
    """Instrument every module of which the component has an instance."""
    accessors: dict[int, Accessors] = {}
    modules: dict[int, bytes] = {}
    markers = {start: number for number, start in enumerate(sorted(instances.modules))}
    for start, module in instances.modules.items():
        wasm, accessors[start] = instrument(module)
        if accessors[start].data_drops or accessors[start].element_drops:
            wasm = note_drops(parse_module(wasm), accessors[start])
        modules[start] = _marked(wasm, accessors[start].prefix, markers[start])

    def replacement(item: Item) -> bytes | None:
        return modules.get(item.start)

    component = instances.root.component
    mark = _unused_name(component)
    chunks = with_modules(component, replacement) + _marker_sections(component, mark)
    return InstrumentedComponent(b"".join(chunks), accessors, markers, mark)


def marker_name(accessors: Accessors) -> str:
    """Return the name under which a module exports its number."""
    return accessors.prefix + "module"


def _marked(wasm: bytes, prefix: str, number: int) -> bytes:
    """Add a global that holds ``number``, exported."""
    module = parse_module(wasm)
    global_ = encode_globaltype(GlobalType("i32", False)) + encode_const("i32", number) + END
    export = encode_export(Export(prefix + "module", "global", len(module.globals)))
    contents = {
        sec.GLOBAL: extended(module, sec.GLOBAL, [global_]),
        sec.EXPORT: extended(module, sec.EXPORT, [export]),
    }
    return b"".join(assemble(module, contents))


def _export_names(component: Component) -> Iterable[str]:
    for old in component.sections:
        for item in old.items:
            if isinstance(item.definition, it.Export | it.Import):
                yield item.definition.name


def _unused_name(component: Component) -> str:
    """Return a name for the appended function; names that differ in case only count as equal."""
    taken = {name.lower() for name in _export_names(component)}
    name = "wizer-mark"
    while name in taken:
        name += "-x"
    return name


def _marker_sections(component: Component, name: str) -> list[Chunk]:
    """Return the sections that define and export the function that leaves the trace."""
    counts = component.counts
    instance = b"\x00" + encode_unsigned(counts.get("core module", 0)) + b"\x00"
    alias = b"\x00\x00\x01" + encode_unsigned(counts.get("core instance", 0)) + encode_name("mark")
    functype = b"\x40\x00\x01\x00"
    lift = b"\x00\x00" + encode_unsigned(counts.get("core func", 0)) + b"\x00"
    lift += encode_unsigned(counts.get("type", 0))
    export = b"\x00" + encode_name(name) + b"\x01" + encode_unsigned(counts.get("func", 0)) + b"\x00"
    return [
        *section(it.CORE_MODULE, [_marker_module()]),
        *vector_section(it.CORE_INSTANCE, [instance]),
        *vector_section(it.ALIAS, [alias]),
        *vector_section(it.TYPE, [functype]),
        *vector_section(it.CANON, [lift]),
        *vector_section(it.EXPORT, [export]),
    ]


def _marker_module() -> bytes:
    body = code.global_get(0) + encode_const("i32", 1) + code.I32_ADD + code.op(b"\x24", 0)
    contents: Mapping[int, Sequence[bytes]] = {
        sec.TYPE: [encode_functype(FuncType((), ()))],
        sec.FUNCTION: [b"\x00"],
        sec.GLOBAL: [encode_globaltype(GlobalType("i32", True)) + encode_const("i32", 0) + END],
        sec.EXPORT: [
            encode_export(Export(INSTANCE_MARKER, "global", 0)),
            encode_export(Export("mark", "func", 0)),
        ],
        sec.CODE: [code.encode_body(body)],
    }
    empty = parse_module(sec.MAGIC + sec.MODULE_VERSION)
    return b"".join(
        assemble(empty, {id_: [encode_unsigned(len(items)), *items] for id_, items in contents.items()})
    )
