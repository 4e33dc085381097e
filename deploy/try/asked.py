"""Ask the page: `asked.py URL [TOKEN-FILE [METHOD]]`; its answer goes to stdout, once it answers at all.

Exit 1 for an answer of 400 and more. The file has the token alone.
"""

import sys
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

PATIENCE_S = 60.0


def main(url: str, token: str = "", method: str = "GET") -> None:
    """Print what it answers."""
    headers = {"Authorization": f"Bearer {Path(token).read_text().strip()}"} if token else {}
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urlopen(Request(url, headers=headers, method=method), timeout=PATIENCE_S) as answer:
                print(answer.read().decode())
                return
        except HTTPError as refused:
            sys.exit(f"asked.py: {url}: {refused.code} {refused.read().decode()}")
        except URLError as absent:
            if time.monotonic() > deadline:
                sys.exit(f"asked.py: {url}: {absent.reason}")
            time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
