"""Somebody who keeps asking for homepages while processes die."""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from typing import Final

PAUSE_S: Final = 0.02
TIMEOUT_S: Final = 5.0


class Visitor(threading.Thread):
    """Asks for the homepages of `members` in turn until told to stop; counts what came.

    answers: by ladder step. refused: nobody listened, as when serving itself was killed. failed: answered, but not 200.
    """

    def __init__(self, url: str, members: Sequence[str], seed: int) -> None:
        super().__init__(daemon=True)
        self.answers: Counter[str] = Counter()
        self.refused = 0
        self.failed: Counter[int] = Counter()
        self._url, self._members, self._rng = url, members, random.Random(seed)
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Ask until stopped."""
        while not self._stop_asked.is_set():
            self._ask(self._rng.choice(self._members))
            time.sleep(PAUSE_S)

    def stop(self) -> None:
        """Stop asking; return when the last answer is in."""
        self._stop_asked.set()
        self.join()

    def _ask(self, member: str) -> None:
        try:
            with urllib.request.urlopen(f"{self._url}/homepage?member_id={member}", timeout=TIMEOUT_S) as answer:
                self.answers[json.load(answer)["served"]["step"]] += 1
        except urllib.error.HTTPError as error:
            self.failed[error.code] += 1
        except (OSError, ValueError):
            self.refused += 1
