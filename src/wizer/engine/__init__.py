"""The only package that imports the engine: configuration, compilation, linking, WASI, limits, reading.

Parsing engine options and describing WASI or limits does not import ``wasmtime``; building a store does.
"""
