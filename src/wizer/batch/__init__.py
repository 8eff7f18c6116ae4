"""Many snapshots in one go: jobs, the workers that do them, what is up to date, and the file that names them.

wizer.toml ─config→ targets ─plan→ jobs ─uptodate→ those to do ─schedule→ workers ─→ results
"""
