"""`call-archive COMMAND`: what an operator does at a terminal."""

import sys

NOT_INSTALLED = 3
"""`exits.REFUSED`; no module of the command can be imported yet."""


def main() -> None:
    """The installed entry point, which works even without the `cli` extra."""
    try:
        from call_archive_cli.app import app  # noqa: PLC0415 - what it needs may be missing

        app(prog_name="call-archive")
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] in {"call_archive", "call_archive_cli"}:
            raise
        sys.stderr.write(
            f"error: {missing.name} is not installed: pip install 'call-archive[cli]'\n"
        )
        raise SystemExit(NOT_INSTALLED) from missing


if __name__ == "__main__":
    main()
