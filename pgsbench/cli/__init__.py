"""The command line: each command parses, calls and prints. Nothing heavy is imported to show a help page."""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130


def main() -> None:
    """Run `pgsbench`; a user's mistake is printed and exits with 2, an interrupt with 130."""
    # Before any library looks: no telemetry, and no half-minute of retries where there is no network.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from pgsbench.cli.app import app
    from pgsbench.errors import UserError, mended, stopped

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # save and end, as on Ctrl-C
    try:
        app()
    except UserError as error:
        command = mended(sys.argv[1:], error)
        print(f"error: {error}", *[f"  -> {command}"] * bool(command), sep="\n", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer turns Ctrl-C into this
            print(f"\n{stopped(sys.argv[1:])}", file=sys.stderr)
        raise
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        sys.stderr.close()
        sys.exit(141)
