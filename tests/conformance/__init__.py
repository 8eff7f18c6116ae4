"""The specification's own scripts, replayed as they are and across snapshots.

``scripts`` finds and converts them, ``values`` and ``host`` speak to the engine, ``replay`` runs a script,
``snapshots`` runs it while instances are frozen and exchanged, ``test_conformance`` compares the two.
"""
