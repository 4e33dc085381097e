"""The way in. Says so before anything else is imported when this Python is not the right one."""

import os
import sys

SUPPORTED = ((3, 11), (3, 12))


def main(arguments: "list[str] | None" = None) -> None:
    """Run the command line and exit. Older Pythons must be able to read this file."""
    if sys.version_info[:2] not in SUPPORTED:
        sys.stderr.write(
            f"sipagent: Python {sys.version_info[0]}.{sys.version_info[1]} cannot run it; "
            "accepted: 3.11, 3.12 (the SIP engine is built for no other)\n"
        )
        sys.exit(2)
    # The detector multiplies small matrices: numpy's threads would cost three times the CPU and save nothing.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from sipagent.cli import cli

    cli.main(arguments)


if __name__ == "__main__":
    main()
