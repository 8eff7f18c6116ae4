"""Where handles come from: an instrumented component notes it.

Before::

    (core func $get (canon lower (func $stdout "get-stdout")))
    (core func $drop (canon resource.drop $stream))
    (core instance $i (instantiate $m (with "" (instance (export "get" (func $get)) …))))

After::

    (core module $log (memory (export "log") 0) (func (export "note") …) (func (export "forget") …) …)
    (core instance $log (instantiate $log))
    (core func $get (canon lower (func $stdout "get-stdout")))
    (core func $drop (canon resource.drop $stream))
    (core module $watch …)                         ;; calls what it is given, and tells the log
    (core instance $watch (instantiate $watch (with "" (instance (export "0" (func $get)) …)) …))
    (alias core export $watch "0" (core func $get'))
    (alias core export $watch "1" (core func $drop'))
    (core instance $i (instantiate $m (with "" (instance (export "get" (func $get')) …))))

Only functions that hand out or take handles are watched, and built-in ones that make and drop them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from wizer.binary import code
from wizer.binary import sections as sec
from wizer.binary.assemble import from_items
from wizer.binary.expr import END, encode_const
from wizer.binary.externs import (
    Export,
    FuncIndex,
    Import,
    MemoryType,
    SizeLimits,
    encode_export,
    encode_import,
)
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.types import FuncType, encode_functype
from wizer.component import items as it
from wizer.component.abi import MOST_PARAMS, flat, offsets, owned, payload, size
from wizer.component.additions import ComponentAdditions
from wizer.component.items import Component, Item, Section
from wizer.component.log import BYTE, FORGET, FORGET_ALL, FUNCTIONS, I32, LENGTH, LOG, NOTE, log_module
from wizer.component.types import (
    Function,
    Handle,
    List,
    Record,
    Resource,
    Scalar,
    Types,
    ValueType,
    Variant,
    discriminant,
)
from wizer.records import record


@record
class Origin:
    """What gave a component a handle.

    Attributes:
        function: the function's name, with those of the packages and interfaces; "" for ``resource.new``.
        resource: the type of the resource.
        start: where the canonical function stands in the input.
    """

    function: str
    resource: Resource
    start: int


class Watch:
    """What is watched of one component.

    Attributes:
        origins: where its handles can come from; the log has their numbers, counted from 1.
        is_certain: whether all that can take a handle away is watched.
        log: the core instance of the log.
        watchers: how many other core instances watch.
    """

    def __init__(self, component: Component, types: Types) -> None:
        self.origins: list[Origin] = []
        self.watchers: int = 0
        self._types = types
        self._watched = {
            section.start: found
            for section in component.sections
            if section.id == it.CANON
            and (found := [item for item in section.items if self._is_watched(item)])
        }
        understood = all(map(self._is_understood, component.items))
        self.is_certain: bool = understood and not self._handles_leave(component)
        self.log: int | None = None

    def begin(self, additions: ComponentAdditions) -> None:
        """Add the log, before anything else of the component, if anything is watched."""
        if self._watched:
            self.log = additions.core_instance(additions.core_module(log_module()), {})

    def after(self, section: Section, additions: ComponentAdditions) -> None:
        """Add what watches the functions of a section behind it, and has all that follows use it."""
        by_memory: dict[int | None, list[Item]] = {}
        for item in self._watched.get(section.start, ()):
            by_memory.setdefault(_canonical(item).memory, []).append(item)
        defined = [item.start for item in section.items if item.sort == "core func"]
        first = additions.scope.kept("core func") - len(defined)
        for memory, watched in by_memory.items():
            assert self.log is not None
            old = [first + defined.index(item.start) for item in watched]
            new = [additions.scope.new("core func", index) for index in old]
            functions = {str(number): index for number, index in enumerate(new)}
            given = additions.core_items(functions, {} if memory is None else {"memory": memory})
            module = additions.core_module(_Watcher(self, watched, has_memory=memory is not None).module())
            watcher = additions.core_instance(module, {"": given, LOG: self.log})
            self.watchers += 1
            for number, index in enumerate(old):
                additions.scope.redirect("core func", index, additions.core_function(watcher, str(number)))

    def functype(self, item: Item) -> tuple[str, Function | None]:
        """Return the name and the type of the function that is lowered."""
        use = _canonical(item).lowers
        assert use is not None
        named = self._types.functions[use.index] if use.index < len(self._types.functions) else None
        if named is None or not isinstance(named.type, Function):
            return "", None
        return named.name, named.type

    def resource(self, item: Item) -> Resource:
        """Return the type of the handles that a built-in function is about."""
        found = self._types.type(_canonical(item).type)
        return found if isinstance(found, Resource) else Resource("resource")

    def origin(self, function: str, resource: Resource, item: Item) -> int:
        """Return the number of a new origin."""
        self.origins.append(Origin(function, resource, item.start))
        return len(self.origins)

    def typeidx(self, resource: Resource) -> int | None:
        """Return an index of a type of resources in the component; None where it has none."""
        types = enumerate(self._types.types)
        return next((index for index, found in types if found is resource), None)

    def _is_watched(self, item: Item) -> bool:
        canonical = _canonical(item)
        if canonical.opcode in (it.RESOURCE_NEW, it.RESOURCE_DROP):
            return True
        if canonical.lowers is None or canonical.is_async:
            return False
        _, functype = self.functype(item)
        return functype is not None and any(map(owned_any, (*functype.params, functype.result)))

    def _is_understood(self, item: Item) -> bool:
        """Whether an item is no function that takes handles unseen."""
        canonical = item.definition
        if not isinstance(canonical, it.Canonical) or canonical.lowers is None:
            return True
        _, functype = self.functype(item)
        return functype is not None and not (canonical.is_async and any(map(owned_any, functype.params)))

    def _handles_leave(self, component: Component) -> bool:
        """Whether calls from outside can take handles away, whose places other handles get."""
        lifted = [
            self._types.type(item.definition.type)
            for item in component.items
            if isinstance(item.definition, it.Canonical) and item.definition.opcode == it.LIFT
        ]
        functions = [each for each in lifted if isinstance(each, Function)]
        out = [handle for each in functions for handle in owned(each.result)]
        into = [handle for each in functions for param in each.params for handle in owned(param)]
        foreign = [handle for handle in into if not handle.resource.is_own]
        return (
            len(functions) < len(lifted) or any(not h.resource.is_own for h in out) or bool(out and foreign)
        )


def owned_any(of: ValueType | None) -> bool:
    """Whether handles pass from one side to the other with a value."""
    return next(owned(of), None) is not None


def _canonical(item: Item) -> it.Canonical:
    assert isinstance(item.definition, it.Canonical)
    return item.definition


class _Watcher:
    """The module that watches some functions; those of the log and the watched ones are its imports."""

    def __init__(self, watch: Watch, items: Sequence[Item], *, has_memory: bool) -> None:
        self._watch = watch
        self._items = items
        self._has_memory = has_memory
        self._types: list[FuncType] = []
        self._locals = 0  # how many of i32 the function has, with its parameters

    def module(self) -> bytes:
        imports = [Import(LOG, name, "func", self._type(of)) for name, of in FUNCTIONS.items()]
        types, bodies = [], []
        for number, item in enumerate(self._items):
            functype, body = self._function(len(FUNCTIONS) + number, item)
            types.append(self._type(functype))
            bodies.append(body)
        imports += [Import("", str(number), "func", functype) for number, functype in enumerate(types)]
        if self._has_memory:
            imports.append(Import("", "memory", "memory", MemoryType(SizeLimits(0, None))))
        first = len(FUNCTIONS) + len(types)
        exports = [Export(str(number), "func", first + number) for number in range(len(types))]
        return from_items(
            {
                sec.TYPE: [encode_functype(functype) for functype in self._types],
                sec.IMPORT: [encode_import(imported) for imported in imports],
                sec.FUNCTION: [encode_unsigned(functype.typeidx) for functype in types],
                sec.EXPORT: [encode_export(export) for export in exports],
                sec.CODE: bodies,
            }
        )

    def _type(self, functype: FuncType) -> FuncIndex:
        if functype not in self._types:
            self._types.append(functype)
        return FuncIndex(self._types.index(functype))

    def _function(self, index: int, item: Item) -> tuple[FuncType, bytes]:
        """Return the type and the body of what calls the function ``index``."""
        match _canonical(item).opcode:
            case it.RESOURCE_DROP:
                body = code.local_get(0) + code.call(FORGET) + code.local_get(0) + code.call(index)
                return FuncType(I32, ()), code.encode_body(body)
            case it.RESOURCE_NEW:
                origin = self._watch.origin("", self._watch.resource(item), item)
                body = code.local_get(0) + code.call(index) + code.local_tee(1)
                body += _noted(origin, 0) + code.local_get(1)
                return FuncType(I32, I32), code.encode_body(body, I32)
        name, functype = self._watch.functype(item)
        assert functype is not None
        return self._lowered(index, name, functype, item)

    def _lowered(self, index: int, name: str, of: Function, item: Item) -> tuple[FuncType, bytes]:
        params = [core for param in of.params for core in flat(param)]
        indirect = len(params) > MOST_PARAMS
        if indirect:
            params = ["i32"]
        results = flat(of.result)
        returned = len(params) if len(results) > 1 else None
        if returned is not None:
            params, results = [*params, "i32"], []
        functype = FuncType(tuple(params), tuple(results))
        argument = 0 if params and params[0] == "i32" and returned != 0 else None
        self._locals = len(params)
        before = b"".join(self._forgotten(of, indirect=indirect))
        body = b"".join(map(code.local_get, range(len(params)))) + code.call(index)
        origins = {handle: self._watch.origin(name, handle.resource, item) for handle in owned(of.result)}
        if results and origins:
            result = self._local()
            (origin,) = origins.values()
            body += code.local_tee(result) + _noted(origin, argument) + code.local_get(result)
        elif origins:
            assert of.result is not None
            assert returned is not None
            body += self._walk(of.result, returned, 0, origins, argument)
        return functype, code.encode_body(before + body, I32 * (self._locals - len(params)))

    def _local(self) -> int:
        self._locals += 1
        return self._locals - 1

    def _forgotten(self, of: Function, *, indirect: bool) -> Iterator[bytes]:
        """Yield what has the log forget the handles that are handed over."""
        at = 0
        for param in of.params:
            if isinstance(param, Handle) and param.is_owned and not indirect:
                yield code.local_get(at) + code.call(FORGET)
            elif owned_any(param):  # somewhere inside
                yield code.call(FORGET_ALL)
            at += len(flat(param))

    def _walk(
        self, of: ValueType, base: int, at: int, origins: dict[Handle, int], argument: int | None
    ) -> bytes:
        """Return code that notes the handles in a value, ``at`` bytes behind the address in ``base``."""
        if not owned_any(of):
            return b""
        match of:
            case Handle():
                return code.local_get(base) + code.i32_load(4, at) + _noted(origins[of], argument)
            case Record((Handle() as handle, List(Scalar("i32", 1)))):
                read = code.local_get(base) + code.i32_load(4, at)
                return self._text(base, at + 4, read, origins[handle], argument)
            case Record(fields):
                return b"".join(
                    self._walk(field, base, at + offset, origins, argument)
                    for offset, field in offsets(fields)
                )
            case Variant(cases):
                body = b""
                for number, case in enumerate(cases):
                    if case is not None and (
                        inside := self._walk(case, base, at + payload(of), origins, argument)
                    ):
                        body += code.local_get(base) + code.i32_load(discriminant(len(cases)), at)
                        body += encode_const("i32", number) + code.I32_EQ + code.IF + inside + END
                return body
            case List(element):
                place, left = self._local(), self._local()
                body = code.local_get(base) + code.i32_load(4, at) + code.local_set(place)
                body += code.local_get(base) + code.i32_load(4, at + 4) + code.local_set(left)
                inside = self._walk(element, place, 0, origins, argument)
                return body + _counted(left, inside + _advanced(place, size(element)))
        return b""

    def _text(self, base: int, at: int, handle: bytes, origin: int, argument: int | None) -> bytes:
        """Return code that notes a handle and the string beside it."""
        begin, place, left = self._local(), self._local(), self._local()
        body = code.call(LENGTH) + code.local_set(begin)
        body += code.local_get(base) + code.i32_load(4, at) + code.local_set(place)
        body += code.local_get(base) + code.i32_load(4, at + 4) + code.local_set(left)
        byte = code.local_get(place) + code.i32_load(1, 0) + code.call(BYTE)
        body += _counted(left, byte + _advanced(place, 1))
        return body + handle + _noted(origin, argument, code.local_get(begin) + code.call(LENGTH))


_NO_TEXT: Final = encode_const("i32", 0) * 2


def _noted(origin: int, argument: int | None, text: bytes = _NO_TEXT) -> bytes:
    """Return code that notes the handle on the stack."""
    given = encode_const("i32", 0) if argument is None else code.local_get(argument)
    return encode_const("i32", origin) + given + text + code.call(NOTE)


def _advanced(local: int, by: int) -> bytes:
    return code.local_get(local) + encode_const("i32", by) + code.I32_ADD + code.local_set(local)


def _counted(left: int, body: bytes) -> bytes:
    """Return a loop that is gone through as often as the local ``left`` says."""
    count = code.local_get(left) + encode_const("i32", 1) + code.I32_SUB + code.local_tee(left)
    return code.local_get(left) + code.IF + code.LOOP + body + count + code.br_if(0) + END + END
