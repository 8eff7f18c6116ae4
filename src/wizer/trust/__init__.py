"""What a snapshot can be trusted with: what was frozen in it (audit), and whether it is right (verify)."""
