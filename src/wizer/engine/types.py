"""The engine's classes that signatures outside of this package name; for type checkers only."""

from __future__ import annotations

from wasmtime import Instance, Store
from wasmtime.component import Instance as ComponentInstance

__all__ = ["ComponentInstance", "Instance", "Store"]
