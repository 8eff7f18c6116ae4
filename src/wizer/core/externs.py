"""What a module or component imports and exports, with types, for those who look at it from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from wizer.records import record

if TYPE_CHECKING:
    from wizer.binary.externs import GlobalType, MemoryType, TableType
    from wizer.binary.types import FuncType
    from wizer.engine.component_types import FunctionType

Type: TypeAlias = "FuncType | TableType | MemoryType | GlobalType | FunctionType"


@record
class Extern:
    """An import or export of a module or component.

    Attributes:
        name: its own name.
        kind: of a module's: func, table, memory, global or tag; of a component's: func, instance, type and
            so on.
        type: of functions and tags, of a component's as of a module's, their parameters and results; of the
            others what the specification says. None: of a component's, where it is no function.
        module: what a module imports it from, or the instance that a component imports; otherwise empty.
    """

    name: str
    kind: str
    type: Type | None
    module: str = ""

    def __str__(self) -> str:
        name = f"{self.module}::{self.name}" if self.module else self.name
        return f"{self.kind} `{name}`" + (f": {self.type}" if self.type is not None else "")
