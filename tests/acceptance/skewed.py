"""The command line on a host whose clock is wrong, and jumps: `… WRONG_S JUMP_S AFTER_S COMMAND`."""

import sys
import time

_true = time.time
_began = time.monotonic()


def _wrong() -> float:
    jumped = time.monotonic() - _began > float(sys.argv[3])
    return _true() + float(sys.argv[1]) + (float(sys.argv[2]) if jumped else 0.0)


if __name__ == "__main__":
    time.time = _wrong
    from compose import cli  # what it imports looks at the clock

    cli.main(args=sys.argv[4:], standalone_mode=True)
