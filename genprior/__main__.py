"""`python -m genprior`, the same as the command `genprior`."""

from __future__ import annotations

from genprior.cli.app import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
