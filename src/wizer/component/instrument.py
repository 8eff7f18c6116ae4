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
engine's core instances are told from those of another instance of the same component. Where a component can
hold handles, a probe of `handles` goes before it, in nested components too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wizer.binary import code
from wizer.binary import sections as sec
from wizer.binary.additions import Additions
from wizer.binary.assemble import Chunk, from_items
from wizer.binary.expr import encode_const
from wizer.binary.externs import Export, GlobalType, encode_export
from wizer.binary.module import encode_global
from wizer.binary.types import FuncType, encode_functype
from wizer.component import items as it
from wizer.component.additions import ComponentAdditions
from wizer.component.drops import note_drops
from wizer.component.encode import with_modules
from wizer.component.handles import add_probe
from wizer.component.instances import Instances
from wizer.component.items import Component, Item
from wizer.core.instrument import Accessors, add_accessors, unused_prefix
from wizer.records import record

INSTANCE_MARKER: Final = "wizer:mark"
_MODULE_MARKER: Final = "module"


@record
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
    modules: dict[int, list[Chunk]] = {}
    markers = {start: number for number, start in enumerate(sorted(instances.modules))}
    for start, module in instances.modules.items():
        additions = Additions(module, unused_prefix(module))
        accessors[start] = add_accessors(additions)
        note_drops(additions, accessors[start])
        additions.exported_i32(_MODULE_MARKER, markers[start])
        modules[start] = additions.assemble()

    def replacement(item: Item) -> list[Chunk] | None:
        return modules.get(item.start)

    root = instances.root.component
    mark = _unused_name(root)

    def appended(component: Component) -> list[Chunk]:
        additions = ComponentAdditions(component)
        add_probe(component, additions)
        if component is root:
            _add_marker(mark, additions)
        return additions.chunks

    chunks = with_modules(root, replacement, appended)
    return InstrumentedComponent(b"".join(chunks), accessors, markers, mark)


def marker_name(accessors: Accessors) -> str:
    """Return the name under which a module exports its number."""
    return accessors.prefix + _MODULE_MARKER


def _unused_name(component: Component) -> str:
    """Return a name for the appended function; names that differ in case only count as equal."""
    named = (item.definition for item in component.items)
    taken = {each.name.lower() for each in named if isinstance(each, it.Export | it.Import)}
    name = "wizer-mark"
    while name in taken:
        name += "-x"
    return name


def _add_marker(name: str, additions: ComponentAdditions) -> None:
    """Append what defines and exports the function that leaves the trace."""
    instance = additions.core_instance(additions.core_module(_marker_module()), {})
    mark = additions.lift(additions.core_function(instance, "mark"), additions.type(b"\x40\x00\x01\x00"))
    additions.export_function(name, mark)


def _marker_module() -> bytes:
    body = code.global_get(0) + encode_const("i32", 1) + code.I32_ADD + code.global_set(0)
    return from_items(
        {
            sec.TYPE: [encode_functype(FuncType((), ()))],
            sec.FUNCTION: [b"\x00"],
            sec.GLOBAL: [encode_global(GlobalType("i32", True), encode_const("i32", 0))],
            sec.EXPORT: [
                encode_export(Export(INSTANCE_MARKER, "global", 0)),
                encode_export(Export("mark", "func", 0)),
            ],
            sec.CODE: [code.encode_body(body)],
        }
    )
