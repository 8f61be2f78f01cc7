"""Reads TOML recipes into resolved rows; every mistake is reported with its line."""
