"""What is frozen: reproducible, verified, audited, bounded, and whole whatever happens."""
