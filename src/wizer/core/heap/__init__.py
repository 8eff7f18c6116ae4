"""What references and objects of the garbage-collected heap are in a module.

`encode` is the one way in, and its result a `heapcode.HeapCode`, which `wizer.core.rewrite` puts together.
For few objects `place` decides where each is made, `paths` how others get at it, and `constants` writes
constant expressions (`expressions`, `initial`) and what the restore function does besides (`restore`). For
many, `place_many` leaves to these what only they can do, and `loops` writes the rest as loops over columns.
"""
