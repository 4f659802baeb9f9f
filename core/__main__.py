"""The `sensorium` program, also as `python -m sensorium`."""

import signal


def main() -> None:
    """Run the program; Ctrl-C ends it without a traceback while its modules are still being imported, too."""
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from sensorium.cli.main import main as run

    signal.signal(signal.SIGINT, handler)
    try:
        run()
    finally:
        if signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the command is done: the way out can be cut short


if __name__ == "__main__":
    main()
