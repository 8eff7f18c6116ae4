"""Components: freezing them, and running them before and after in the engine and in the Rust tool."""
