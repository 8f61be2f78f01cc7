"""From a TOML file to resolved rows, with every mistake at its line."""
