"""The pipeline for a module: instrument, capture, rewrite; and the session that holds it open."""
