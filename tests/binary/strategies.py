"""Values of the binary format for property tests."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from wizer.binary import types
from wizer.binary.externs import (
    KINDS,
    Export,
    FuncIndex,
    GlobalType,
    Import,
    MemoryType,
    SizeLimits,
    TableType,
)
from wizer.binary.reader import Reader
from wizer.errors import ParseError

u32 = st.integers(0, 2**32 - 1) | st.sampled_from([0, 127, 128, 2**14 - 1, 2**14, 2**31, 2**32 - 1])
u64 = st.integers(0, 2**64 - 1) | u32 | st.just(2**64 - 1)
names = st.text(max_size=20)

heaptypes = st.sampled_from(sorted(types.HEAP_CODES)) | st.integers(0, 2**32 - 1)
reftypes = st.builds(types.RefType, nullable=st.booleans(), heap=heaptypes)
valtypes = st.sampled_from(sorted(types.NUMBER_CODES)) | reftypes
functypes = st.builds(
    types.FuncType,
    st.lists(valtypes, max_size=4).map(tuple),
    st.lists(valtypes, max_size=4).map(tuple),
)


@st.composite
def limits(draw: st.DrawFn, *, shared: bool) -> SizeLimits:
    """Limits, of a memory if they may be shared."""
    is64 = draw(st.booleans())
    size = u64 if is64 else u32
    maximum = draw(st.none() | size)
    return SizeLimits(draw(size), maximum, is64, shared and draw(st.booleans()))


tabletypes = st.builds(TableType, reftypes, limits(shared=False))
memorytypes = st.builds(MemoryType, limits(shared=True), st.integers(0, 16))
globaltypes = st.builds(GlobalType, valtypes, st.booleans())
functions = st.builds(FuncIndex, u32)

imports = (
    st.builds(Import, names, names, st.just("func"), functions)
    | st.builds(Import, names, names, st.just("tag"), functions)
    | st.builds(Import, names, names, st.just("table"), tabletypes)
    | st.builds(Import, names, names, st.just("memory"), memorytypes)
    | st.builds(Import, names, names, st.just("global"), globaltypes)
)
exports = st.builds(Export, names, st.sampled_from(KINDS), u32)


def offset_of_fault(read: Callable[[Reader], object], data: bytes) -> int:
    """Read; return the offset that the error names, or where reading stopped. Nothing else may be raised."""
    reader = Reader(data)
    try:
        read(reader)
    except ParseError as error:
        return error.offset
    return reader.pos
