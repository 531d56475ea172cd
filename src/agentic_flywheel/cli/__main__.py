"""``python -m agentic_flywheel.cli`` is ``flywheel``."""

from . import main

if __name__ == "__main__":
    main()
