"""Wizer: the WebAssembly pre-initialiser."""
