"""What is in a file, and where two differ, without running either."""
