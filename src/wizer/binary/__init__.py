"""The WebAssembly binary format: bytes to objects and back, one file for each family of sections.

What is parsed is what a snapshot needs: sections, index spaces, types, constant expressions. Function bodies
are never decoded. Links go to the core specification, chapter 5, "Binary Format":
https://webassembly.github.io/spec/core/binary/index.html
"""
