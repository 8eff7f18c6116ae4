"""The garbage-collected heap: walking it while it lives, and saying it again in a module."""
