"""`make chaos`: what the naive design loses, then stories with fresh seeds for as long as one likes."""

from __future__ import annotations

import argparse
import random
import sys
import time

from hypothesis import seed
from naive import lost, naively, with_mcimport
from story import Story, run_stories

SIZE, PAGE = 20_000, 1_000


def main() -> int:
    """Exit 1 at the first story with a bad end, after its seed, which tells the same stories again."""
    asked = _arguments()
    _say(f"a list of {SIZE:,}, ten members archived after each page of {PAGE:,}; lost of those who did not change:")
    _say(f"  naive    lost {lost(naively, size=SIZE, page=PAGE)}")
    ours = lost(with_mcimport, size=SIZE, page=PAGE)
    _say(f"  mcimport lost {ours}")
    return 1 if ours else _stories(asked)


def _stories(asked: argparse.Namespace) -> int:
    end = time.monotonic() + 60 * asked.minutes
    while True:
        number = random.SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
        try:
            run_stories(seed(number)(Story), stories=asked.stories, steps=asked.steps)
        except BaseException:
            _say(f"seed {number}: a story ends badly; `make chaos SEED={number}` tells it again")
            raise
        _say(f"seed {number}: {asked.stories} stories, nobody lost")
        if asked.seed is not None or time.monotonic() >= end:
            return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long to go on; a seed begun is ended")
    parser.add_argument("--seed", type=int, help="tell the stories of this seed, once")
    parser.add_argument("--stories", type=int, default=25, help="stories a seed")
    parser.add_argument("--steps", type=int, default=12, help="steps a story, at most")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
