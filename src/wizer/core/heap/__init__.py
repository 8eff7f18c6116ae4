"""The garbage-collected heap: walking it while it lives, and saying it again in a module.

`walk` reads the objects of a live instance. `graph` knows what refers to what, `place` decides where in the
snapshot each object is made, `paths` how others get at it, and `encode` writes it all. Where there are many,
`bulk_place` and `bulk` do so with loops over columns of data.
"""
