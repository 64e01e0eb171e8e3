"""`python -m marquee`: the same as the `marquee` command."""

from __future__ import annotations

from marquee.cli import main

if __name__ == "__main__":
    main()
