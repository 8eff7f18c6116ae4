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
hold handles, a probe of `handles` goes before it, in nested components too, and what `origins` watches with
stands between the sections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from wizer.binary import code
from wizer.binary import sections as sec
from wizer.binary.additions import Additions
from wizer.binary.assemble import Chunk, encode_section, from_items
from wizer.binary.expr import encode_const
from wizer.binary.externs import Export, GlobalType, encode_export
from wizer.binary.module import encode_global
from wizer.binary.types import FuncType, encode_functype
from wizer.component import items as it
from wizer.component.additions import ComponentAdditions
from wizer.component.drops import note_drops
from wizer.component.encode import Scope, renumbered
from wizer.component.handles import add_probe
from wizer.component.instances import Instances
from wizer.component.items import Component, Sort
from wizer.component.origins import Watch
from wizer.component.types import Types, read_types
from wizer.core.instrument import Accessors, add_accessors, unused_prefix
from wizer.records import record

INSTANCE_MARKER: Final = "wizer:mark"
_MODULE_MARKER: Final = "module"


@record
class InstrumentedComponent:
    """What was made of a component.

    Attributes:
        chunks: the instrumented component, in pieces.
        accessors: those of each module that is instantiated, by where it begins in the original.
        markers: likewise, the value by which its instances are known.
        mark: the exported component function that leaves the trace.
        watches: what is watched of each component, by where it begins in the original.
    """

    chunks: Sequence[Chunk]
    accessors: Mapping[int, Accessors]
    markers: Mapping[int, int]
    mark: str
    watches: Mapping[int, Watch]


def instrument_component(instances: Instances, *, notes_growth: bool = False) -> InstrumentedComponent:
    """Instrument every module of which the component has an instance; see `wizer.core.instrument`."""
    accessors: dict[int, Accessors] = {}
    modules: dict[int, list[Chunk]] = {}
    markers = {start: number for number, start in enumerate(sorted(instances.modules))}
    for start, module in instances.modules.items():
        additions = Additions(module, unused_prefix(module))
        accessors[start] = add_accessors(additions, notes_growth=notes_growth)
        note_drops(additions, accessors[start])
        additions.exported_i32(_MODULE_MARKER, markers[start])
        modules[start] = additions.assemble()

    root = instances.root.component
    mark = _unused_name(root)
    watches: dict[int, Watch] = {}

    def instrumented(component: Component, types: Types | None, outer: Scope | None) -> list[Chunk]:
        own_types = read_types(component, types)
        watch = watches[component.start] = Watch(component, own_types)
        additions = ComponentAdditions(Scope(outer))
        additions.chunks.append(memoryview(component.wasm)[component.start : component.start + 8])
        watch.begin(additions)
        for old in component.sections:
            new: Sequence[Chunk] | None = None
            if old.id == it.CORE_MODULE:
                new = modules.get(old.items[0].start)
            elif old.id == it.COMPONENT:
                definition = old.items[0].definition
                assert isinstance(definition, it.ComponentDefinition)
                new = instrumented(definition.component, own_types, additions.scope)
            if new is None:
                additions.chunks += renumbered(component, old, additions.scope)
            else:
                additions.chunks += encode_section(old.id, new)
                additions.scope.keep(_SORTS[old.id])
            watch.after(old, additions)
        add_probe(component, watch.log, additions)
        if component is root:
            _add_marker(mark, additions)
        return additions.chunks

    chunks = instrumented(root, None, None)
    return InstrumentedComponent(chunks, accessors, markers, mark, watches)


_SORTS: Final[Mapping[int, Sort]] = {it.CORE_MODULE: "core module", it.COMPONENT: "component"}


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
