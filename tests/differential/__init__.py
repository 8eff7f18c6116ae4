"""Differential tests: a snapshot behaves as the original does after its initialisation.

`smith` generates modules, `actions` what is done to them, `instance` does it and looks at what came of it,
`check` compares. `pool` runs many seeds in processes of their own, because an engine's panic ends a process.
"""
