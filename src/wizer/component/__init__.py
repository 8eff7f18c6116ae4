"""Components: the same stages, built on those for modules."""
