"""Calling the engine's WASI 0.2 from Python: a component between the two.

The engine hands out no functions of its linker. But a component can import them and export functions of the
same types, and these Python can call: a *relay*. Its text is made here, from the types of what a guest
imports. Each of its functions takes what canonical lifting lowers into its memory, and hands it on::

    (import "wasi:io/streams@0.2.12" (instance $i0
      (export "input-stream" (type $r0 (sub resource)))
      (export "[method]input-stream.read" (func (param "self" (borrow $r0)) …))))
    (core func $l0 (canon lower (func $i0 "[method]input-stream.read") (memory $memory) …))
    (core module $main (func (export "c0") (param i32 i64) (result i32)
      (call $l0 (local.get 0) (local.get 1) (i32.const 16))   ;; where the result goes
      (call $d0 (local.get 0))                                ;; a borrowed handle is given back
      (i32.const 16)) …)
    (func (export "f0") (param "self" (borrow $r0)) … (canon lift (core func $main "c0") …))

https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import wasmtime
import wasmtime.component as wc

from wizer.errors import LinkError
from wizer.records import record

if TYPE_CHECKING:
    from wasmtime._store import Storelike

Key: TypeAlias = "tuple[str, str]"  # an interface without its version, and a name in it

INSTANCES, MEMORIES = 2, 1
"""How many core instances and memories a relay has."""

_MAX_PARAMS = 16  # MAX_FLAT_PARAMS
_RESULT = 16  # address of a result in the relay's memory
_HEAP = 4096  # address of what is allocated; longer than any result is

_PRIMITIVES: dict[type, tuple[str, str]] = {
    wc.Bool: ("bool", "i32"),
    wc.S8: ("s8", "i32"),
    wc.S16: ("s16", "i32"),
    wc.S32: ("s32", "i32"),
    wc.S64: ("s64", "i64"),
    wc.U8: ("u8", "i32"),
    wc.U16: ("u16", "i32"),
    wc.U32: ("u32", "i32"),
    wc.U64: ("u64", "i64"),
    wc.F32: ("f32", "f32"),
    wc.F64: ("f64", "f64"),
    wc.Char: ("char", "i32"),
}


@record
class Function:
    """A function for the relay.

    Attributes:
        key: the interface and its name.
        params: names and types.
        result: the type of the result, or None.
    """

    key: Key
    params: tuple[tuple[str, wc.ValType], ...]
    result: wc.ValType | None


class Resources:
    """The resource types of the interfaces that a component imports, by where they are defined.

    A type is found by equality: instances that use another's type have it under a name of their own.
    """

    def __init__(self) -> None:
        self._known: list[tuple[wc.ResourceType, Key]] = []

    def define(self, resource: wc.ResourceType, key: Key) -> None:
        """Note a type; it is ``key``'s own where it is not known already."""
        if self.key(resource) is None:
            self._known.append((resource, key))

    def key(self, resource: wc.ResourceType) -> Key | None:
        """Return where a type is defined."""
        return next((key for known, key in self._known if known == resource), None)

    def type(self, key: Key) -> wc.ResourceType:
        """Return the type that is defined there; one that stands for it where it is not known."""
        for known, found in self._known:
            if found == key:
                return known
        made = wc.ResourceType.host(len(self._known))
        self._known.append((made, key))
        return made


def handles(valtype: wc.ValType | None) -> Iterator[wc.OwnType | wc.BorrowType]:
    """Yield the types of handles in a type, in order."""
    if isinstance(valtype, wc.OwnType | wc.BorrowType):
        yield valtype
    for part in _parts(valtype):
        yield from handles(part)


def function_handles(function: Function | wc.FuncType) -> Iterator[wc.OwnType | wc.BorrowType]:
    """Yield the types of handles in a function's type, in order."""
    for _, param in function.params:
        yield from handles(param)
    yield from handles(function.result)


def can_relay(function: Function) -> bool:
    """Whether a relay can have such a function: its borrowed handles are found, and nothing is async."""
    borrows = 0
    for _, param in function.params:
        element = param.element if isinstance(param, wc.ListType) else param
        borrows += isinstance(element, wc.BorrowType)
    everywhere = sum(isinstance(handle, wc.BorrowType) for handle in function_handles(function))
    types = [param for _, param in function.params] + [function.result]
    return borrows == everywhere and not any(map(_is_async, types))


def _is_async(valtype: wc.ValType | None) -> bool:
    kinds = (wc.FutureType, wc.StreamType, wc.ErrorContext)
    return isinstance(valtype, kinds) or any(map(_is_async, _parts(valtype)))


def _parts(valtype: wc.ValType | None) -> list[wc.ValType | None]:
    """Return the types that a type is made of."""
    match valtype:
        case wc.ListType():
            return [valtype.element]
        case wc.RecordType():
            return [field for _, field in valtype.fields]
        case wc.TupleType():
            return list(valtype.elements)
        case wc.OptionType():
            return [valtype.payload]
        case wc.ResultType():
            return [valtype.ok, valtype.err]
        case wc.VariantType():
            return [payload for _, payload in valtype.cases]
    return []


def flattened(valtype: wc.ValType | None) -> list[str]:
    """Return the core types that a type comes to (``flatten_type``)."""
    if valtype is None:
        return []
    if type(valtype) in _PRIMITIVES:
        return [_PRIMITIVES[type(valtype)][1]]
    if isinstance(valtype, wc.String | wc.ListType):
        return ["i32", "i32"]
    if isinstance(valtype, wc.RecordType | wc.TupleType):
        return [core for part in _parts(valtype) for core in flattened(part)]
    joined: list[str] = []
    for case in map(flattened, _parts(valtype)):
        for at, core in enumerate(case):
            if at == len(joined):
                joined.append(core)
            elif joined[at] != core:
                joined[at] = "i32" if {joined[at], core} == {"i32", "f32"} else "i64"
    return ["i32", *joined]  # a discriminant; of enumerations, flags and handles nothing else


class Relay:
    """A relay in a store.

    Args:
        store: the store; its WASI is configured.
        engine: its engine.
        functions: what can be called; `can_relay` is true for them.
        resources: the types of their handles.
        version: of the engine's interfaces.
        http: whether the engine's HTTP is there.

    Raises:
        wasmtime.WasmtimeError: the engine does not have a function, or it is of another type.
    """

    def __init__(
        self,
        store: wasmtime.Store,
        engine: wasmtime.Engine,
        functions: Sequence[Function],
        resources: Resources,
        version: str,
        *,
        http: bool,
    ) -> None:
        text = relay_text(functions, resources, version)
        linker = wc.Linker(engine)
        linker.add_wasip2()
        if http:
            linker.add_wasi_http()
        instance = linker.instantiate(store, wc.Component(engine, wasmtime.wat2wasm(text)))
        self._functions: dict[Key, wc.Func] = {}
        self._types: dict[Key, wc.ResourceType] = {}
        for number, function in enumerate(functions):
            index = instance.get_export_index(store, f"f{number}")
            found = None if index is None else instance.get_func(store, index)
            assert found is not None
            self._functions[function.key] = found
            concrete = function_handles(found.type(store))
            for own, theirs in zip(function_handles(function), concrete, strict=True):
                if (key := resources.key(own.ty)) is not None:
                    self._types[key] = theirs.ty

    def call(self, store: Storelike, key: Key, *args: Any) -> Any:
        """Call the engine's function."""
        return self._functions[key](store, *args)

    def type(self, key: Key) -> wc.ResourceType | None:
        """Return the engine's own type of a resource, None where no function has one."""
        return self._types.get(key)


def relay_text(functions: Sequence[Function], resources: Resources, version: str) -> str:
    """Return a component that exports ``functions`` as ``f0``, ``f1``, … of the engine's own.

    Args:
        functions: what it imports; `can_relay` is true for them.
        resources: the types of their handles.
        version: of the interfaces, as the engine has them.
    """
    return _Text(functions, resources, version).text()


class _Text:
    """The text of one relay. A type has the same name inside of an instance's type and outside of it."""

    def __init__(self, functions: Sequence[Function], resources: Resources, version: str) -> None:
        self._functions = list(enumerate(functions))
        self._resources = resources
        self._version = version
        self._numbers: dict[Key, int] = {}  # of the resource types
        self._interfaces: list[str] = []  # those that are imported already
        self._lines: list[str] = []
        self._types: dict[str, str] = {}  # names of the types in the present interface, by their text
        self._signatures: dict[int, str] = {}

    def text(self) -> str:
        """Return the text."""
        for _, function in self._functions:
            self._import(function.key[0])
        lines = [*self._lines, _LIBC, *map(self._lowered, (number for number, _ in self._functions))]
        for number in self._numbers.values():
            lines.append(f"(core func $d{number} (canon resource.drop $r{number}))")
        lines += self._main()
        for number, _ in self._functions:
            lines.append(
                f'(func (export "f{number}") {self._signatures[number]} (canon lift (core func $main '
                f'"c{number}") (memory $memory) (realloc (core func $realloc)) (post-return (core func $main '
                f'"p{number}"))))'
            )
        return "(component\n" + "\n".join(lines) + ")"

    def _key(self, handle: wc.OwnType | wc.BorrowType) -> Key:
        key = self._resources.key(handle.ty)
        if key is None:
            raise LinkError("the component imports a function of a resource type that no interface defines")
        return key

    def _import(self, interface: str) -> None:
        """Import an interface, and before it those whose types it uses."""
        if interface in self._interfaces:
            return
        self._interfaces.append(interface)
        functions = [(number, f) for number, f in self._functions if f.key[0] == interface]
        used = dict.fromkeys(self._key(handle) for _, f in functions for handle in function_handles(f))
        for key in used:
            self._import(key[0])
        own = [key for key in self._wanted() if key[0] == interface]
        self._types = {}
        inside: list[str] = []
        for key in own:
            self._numbers[key] = len(self._numbers)
            inside.append(f'(export "{key[1]}" (type $r{self._numbers[key]} (sub resource)))')
        for key in used:
            if key not in own:
                number = self._numbers[key]
                inside.append(f"(alias outer 1 $r{number} (type $o{number}))")
                inside.append(f'(export "r{number}" (type $r{number} (eq $o{number})))')
        for number, function in functions:
            self._signatures[number] = self._signature(function, inside)
            inside.append(f'(export "{function.key[1]}" (func {self._signatures[number]}))')
        name = f"$i{self._interfaces.index(interface)}"
        self._lines += [f'(import "{interface}@{self._version}" (instance {name}', *inside, "))"]
        self._lines += [f'(alias export {name} "{k[1]}" (type $r{self._numbers[k]}))' for k in own]
        self._lines += [f'(alias export {name} "{t[1:]}" (type {t}))' for t in self._types.values()]
        self._lines += [f'(alias export {name} "{f.key[1]}" (func $f{number}))' for number, f in functions]

    def _wanted(self) -> Iterator[Key]:
        """Yield where the resource types of all functions are defined, each once."""
        handles = (handle for _, function in self._functions for handle in function_handles(function))
        yield from dict.fromkeys(map(self._key, handles))

    def _signature(self, function: Function, lines: list[str]) -> str:
        """Return a function's type; what it needs of types with names is added to ``lines``."""
        params = [f'(param "{name}" {self._type(param, lines)})' for name, param in function.params]
        result = "" if function.result is None else f"(result {self._type(function.result, lines)})"
        return " ".join([*params, result])

    def _type(self, valtype: wc.ValType, lines: list[str]) -> str:
        """Return a type's text; records and the like have to have names."""
        if type(valtype) in _PRIMITIVES:
            return _PRIMITIVES[type(valtype)][0]
        match valtype:
            case wc.String():
                return "string"
            case wc.OwnType():
                return f"(own $r{self._numbers[self._key(valtype)]})"
            case wc.BorrowType():
                return f"(borrow $r{self._numbers[self._key(valtype)]})"
            case wc.ListType():
                return f"(list {self._type(valtype.element, lines)})"
            case wc.TupleType():
                return f"(tuple {' '.join(self._type(part, lines) for part in valtype.elements)})"
            case wc.OptionType():
                return f"(option {self._type(valtype.payload, lines)})"
            case wc.ResultType():
                ok = "" if valtype.ok is None else self._type(valtype.ok, lines)
                return (
                    f"(result {ok}"
                    + ("" if valtype.err is None else f" (error {self._type(valtype.err, lines)})")
                    + ")"
                )
        text = self._named(valtype, lines)
        if text not in self._types:
            name = f"$t{len(self._signatures)}-x{len(self._types)}"
            self._types[text] = name
            lines += [f"(type {name}-of {text})", f'(export "{name[1:]}" (type {name} (eq {name}-of)))']
        return self._types[text]

    def _named(self, valtype: wc.ValType, lines: list[str]) -> str:
        match valtype:
            case wc.RecordType():
                fields = [f'(field "{name}" {self._type(part, lines)})' for name, part in valtype.fields]
                return f"(record {' '.join(fields)})"
            case wc.EnumType():
                return "(enum " + " ".join(f'"{name}"' for name in valtype.names) + ")"
            case wc.FlagsType():
                return "(flags " + " ".join(f'"{name}"' for name in valtype.names) + ")"
        assert isinstance(valtype, wc.VariantType)
        cases = [
            f'(case "{name}"' + ("" if part is None else f" {self._type(part, lines)}") + ")"
            for name, part in valtype.cases
        ]
        return f"(variant {' '.join(cases)})"

    def _lowered(self, number: int) -> str:
        return (
            f"(core func $l{number} (canon lower (func $f{number}) (memory $memory) "
            "(realloc (core func $realloc))))"
        )

    def _main(self) -> list[str]:
        """Return the module between lifting and lowering, and its instance."""
        names = [f"d{number}" for number in self._numbers.values()]
        imports = [f'(import "" "{name}" (func ${name} (param i32)))' for name in names]
        bodies: list[str] = []
        for number, function in self._functions:
            flat = [core for _, param in function.params for core in flattened(param)]
            params = flat if len(flat) <= _MAX_PARAMS else ["i32"]
            result = flattened(function.result)
            stored = len(result) > 1
            lowered = (
                f"(param {' '.join([*params, *['i32'] * stored])}) (result {' '.join(result * (not stored))})"
            )
            imports.append(f'(import "" "l{number}" (func $l{number} {lowered}))')
            args = " ".join(f"(local.get {at})" for at in range(len(params)))
            place = f"(i32.const {_RESULT})" * stored
            lifted = ["i32"] if stored else result
            bodies.append(
                f'(func (export "c{number}") (param {" ".join(params)}) (result {" ".join(lifted)}) '
                f"(local $at i32) (local $end i32) (call $l{number} {args} {place}) "
                f"{' '.join(self._drops(function))} {place})"
            )
            bodies.append(f'(func (export "p{number}") (param {" ".join(lifted)}) (call $reset))')
            names.append(f"l{number}")
        given = [f'(export "{name}" (func ${name}))' for name in names]
        head = [
            '(import "" "memory" (memory 1))',
            '(import "" "reset" (func $reset))',
        ]
        return [
            "(core module $Main",
            *head,
            *imports,
            *bodies,
            ")",
            '(core instance $main (instantiate $Main (with "" (instance (export "memory" (memory $memory))',
            '(export "reset" (func $reset))',
            *given,
            "))))",
        ]

    def _drops(self, function: Function) -> Iterator[str]:
        """Yield code that gives back the handles that the relay was lent."""
        at = 0
        for _, param in function.params:
            if isinstance(param, wc.BorrowType):
                yield f"(call $d{self._numbers[self._key(param)]} (local.get {at}))"
            elif isinstance(param, wc.ListType) and isinstance(param.element, wc.BorrowType):
                drop = f"$d{self._numbers[self._key(param.element)]}"
                yield (
                    f"(local.set $at (local.get {at})) "
                    f"(local.set $end (i32.shl (local.get {at + 1}) (i32.const 2))) "
                    "(local.set $end (i32.add (local.get $end) (local.get $at))) "
                    "(block $done (loop $next (br_if $done (i32.ge_u (local.get $at) (local.get $end))) "
                    f"(call {drop} (i32.load (local.get $at))) "
                    "(local.set $at (i32.add (local.get $at) (i32.const 4))) (br $next)))"
                )
            at += len(flattened(param))


# The relay's memory: what is lowered into it and lifted from it lies one behind the other, and is forgotten
# when a call is over.
_LIBC = f"""
(core module $Libc
  (memory (export "memory") 1)
  (global $top (mut i32) (i32.const {_HEAP}))
  (func (export "reset") (global.set $top (i32.const {_HEAP})))
  (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
    (local $at i32) (local $pages i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get $new)))
    (local.set $pages (i32.sub (i32.shr_u (i32.add (global.get $top) (i32.const 65535)) (i32.const 16))
                               (memory.size)))
    (if (i32.gt_s (local.get $pages) (i32.const 0))
      (then (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1)) (then (unreachable)))))
    (memory.copy (local.get $at) (local.get $old) (local.get $size))
    (local.get $at)))
(core instance $libc (instantiate $Libc))
(alias core export $libc "memory" (core memory $memory))
(alias core export $libc "realloc" (core func $realloc))
(alias core export $libc "reset" (core func $reset))
"""
