"""The command line: `weir serve`, `weir moderate`, `weir constitution check`, `weir banks`, `weir metrics`, `weir key`.

Owns arguments, exit codes and the one sentence that a refused start prints. Refuses to do the work itself.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import re
import secrets
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from service import __version__
from service.environment import load_settings
from service.errors import StartRefused
from service.listening import Handed

REFUSED = 2
INTERRUPTED = 130
_KEY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except StartRefused as refused:
        print(f"weir: {refused.message}", file=sys.stderr)
        return REFUSED
    except OSError as exc:
        if isinstance(exc, BrokenPipeError):
            # The reader had enough; keep the interpreter from complaining when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return REFUSED
        print(f"weir: {exc.filename or 'input'}: {exc.strerror}.", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        sys.stdout.flush()
        # A thread may be waiting for a line of standard input that never comes; exiting politely would wait with it.
        os._exit(INTERRUPTED)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="weir", description="Self-hosted harm moderation. Settings: WEIR_*.")
    parser.add_argument("--version", action="version", version=f"weir {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="answer over HTTP, on WEIR_HOST and WEIR_PORT")
    serve.add_argument("--worker", type=Handed.parse, help=argparse.SUPPRESS)  # given by the supervisor
    serve.set_defaults(run=_serve)

    moderate = commands.add_parser(
        "moderate",
        help="judge the lines of a file, or images",
        description="Judge lines of text, or of JSON ({'text': ...} or a native request); one JSON line out for each. "
        "Of image files (JPEG, PNG, WEBP, GIF) there may be several, each judged as a post of its own. "
        "Policies are those of files; what a running service has learnt is its own. "
        "Exit code: 0 clean, 1 flagged, 2 error.",
    )
    moderate.add_argument("files", nargs="*", default=["-"], metavar="FILE", help="'-', the default, is standard input")
    moderate.add_argument("--text", default="", help="what is posted with each of the images")
    moderate.add_argument("--policy", help="for lines that name none")
    moderate.add_argument("--role", default="", help="user, assistant ...: for lines that name none")
    moderate.set_defaults(run=_moderate)

    rules = commands.add_parser("constitution", help="principles").add_subparsers(required=True, metavar="COMMAND")
    check = rules.add_parser(
        "check",
        help="read a constitution's file, run its examples, say what fails",
        description="Exit code: 0 all examples came out as they should, 1 some did not, 2 the file is wrong.",
    )
    check.add_argument("file", metavar="FILE")
    check.set_defaults(run=_check_constitution)
    _add_banks(commands.add_parser("banks", help="lists of known images, in the store of the settings"))
    metrics = commands.add_parser(
        "metrics", help="list every series of /metrics", description="Name, type, labels and meaning, a line for each."
    )
    metrics.set_defaults(run=_metrics)

    key = commands.add_parser("key", help="make a key").add_subparsers(required=True, metavar="COMMAND")
    new = key.add_parser("new", help="print a new key, once, and its line for WEIR_API_KEYS")
    new.add_argument("name", nargs="?", default="key", metavar="NAME")
    new.set_defaults(run=_new_key)
    return parser


def _add_banks(banks: argparse.ArgumentParser) -> None:
    commands = banks.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="name, category, action, hashes, description").set_defaults(run=_list_banks)

    make = commands.add_parser("set", help="make a bank, or change what it says")
    make.add_argument("bank", metavar="BANK")
    make.add_argument("--category", required=True, help="what its images are, a name of the taxonomy")
    make.add_argument("--action", required=True, choices=("flag", "review", "block"))
    make.add_argument("--description", default="")
    make.set_defaults(run=_set_bank)

    fill = commands.add_parser(
        "import",
        help="add the hashes of a file to a bank",
        description="Lines of `hash[,note]`, or a table whose first line names its columns: pdq, sha256, hash, "
        "quality, note. '#' begins a comment.",
    )
    fill.add_argument("bank", metavar="BANK")
    fill.add_argument("file", nargs="?", default="-", metavar="FILE", help="'-', the default, is standard input")
    fill.add_argument("--kind", choices=("pdq", "sha256"), help="of hashes that do not say it")
    fill.set_defaults(run=_import_hashes)

    delete = commands.add_parser("delete", help="take a bank away with all its hashes")
    delete.add_argument("bank", metavar="BANK")
    delete.set_defaults(run=_delete_bank)

    hashes = commands.add_parser("hash", help="print the hashes of image files, as `import` takes them")
    hashes.add_argument("files", nargs="+", metavar="FILE", type=Path)
    hashes.add_argument("--kind", choices=("pdq", "sha256"), default="pdq")
    hashes.set_defaults(run=_hash_images)


def _serve(arguments: argparse.Namespace) -> int:
    # Until it listens and drains. By default process 1 of a container, which this is there, passes over the signal.
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    settings = load_settings()
    if settings.workers > 1 and arguments.worker is None:
        from service.supervisor import supervise  # who watches over others loads no web framework

        return supervise(settings, [sys.executable, *sys.orig_argv[1:]])
    from service.serve import run  # `weir key new` need not load a web framework

    run(settings, arguments.worker)
    return 0


def _metrics(arguments: argparse.Namespace) -> int:
    from service.metrics import Metrics

    for series in sorted(Metrics().catalogue, key=lambda series: series.name):
        print(f"{series.name}\t{series.kind}\t{','.join(series.labels) or '-'}\t{series.help}")
    return 0


def _moderate(arguments: argparse.Namespace) -> int:
    return asyncio.run(_moderate_file(arguments))


async def _moderate_file(arguments: argparse.Namespace) -> int:
    from service.bulk import Progress, Rows, moderate_lines, open_source  # as above
    from service.image_files import is_image, moderate_images
    from service.log import configure_logging
    from service.wiring import open_runtime

    settings = load_settings()
    configure_logging("error", settings.log_format)
    names: list[str] = arguments.files
    images = [Path(name) for name in names if name != "-" and is_image(Path(name))]
    if (images or len(names) > 1 or arguments.text) and len(images) != len(names):
        raise StartRefused("It takes one file of lines, or image files alone; --text is of images.")
    source, size = (None, 0) if images else open_source(names[0])
    async with open_runtime(settings, stateful=False) as runtime:
        if source is None:
            given = {"policy": arguments.policy, "role": arguments.role}
            defaults = {name: value for name, value in given.items() if value}
            return await moderate_images(runtime, images, sys.stdout, arguments.text, defaults)
        rows = Rows(arguments.policy, arguments.role)
        return await moderate_lines(runtime, source, sys.stdout, rows, Progress(sys.stderr, size))


def _check_constitution(arguments: argparse.Namespace) -> int:
    return asyncio.run(_check_file(Path(arguments.file)))


async def _check_file(file: Path) -> int:
    from service.constitution_check import check  # as above
    from service.log import configure_logging
    from service.wiring import open_runtime

    settings = load_settings()
    configure_logging("error", settings.log_format)
    async with open_runtime(settings, stateful=False, constitution=file) as runtime:
        evaluator = runtime.constitution.live.get("default")
        report = await check(evaluator.constitution, evaluator, runtime.judge)
    for line in report:
        print(line.text)
    return int(any(line.failed for line in report))


def _list_banks(arguments: argparse.Namespace) -> int:
    from service import bank_commands  # as above

    for line in asyncio.run(bank_commands.list_banks(load_settings())):
        print(line)
    return 0


def _set_bank(arguments: argparse.Namespace) -> int:
    from service import bank_commands  # as above

    what = (arguments.bank, arguments.category, arguments.action, arguments.description)
    print(asyncio.run(bank_commands.set_bank(load_settings(), *what)))
    return 0


def _delete_bank(arguments: argparse.Namespace) -> int:
    from service import bank_commands  # as above

    print(asyncio.run(bank_commands.delete_bank(load_settings(), arguments.bank)))
    return 0


def _import_hashes(arguments: argparse.Namespace) -> int:
    from service import bank_commands  # as above

    settings = load_settings()
    with nullcontext(sys.stdin) if arguments.file == "-" else Path(arguments.file).open(encoding="utf-8") as source:
        print(asyncio.run(bank_commands.import_file(settings, arguments.bank, source, arguments.kind)))
    return 0


def _hash_images(arguments: argparse.Namespace) -> int:
    from service import bank_commands  # as above

    for line in bank_commands.hash_files(arguments.files, arguments.kind):
        print(line)
    return 0


def _new_key(arguments: argparse.Namespace) -> int:
    if not _KEY_NAME.fullmatch(arguments.name):
        raise StartRefused("A key's name must be 1 to 64 letters, digits, '_', '.' or '-'.")
    key = "weir_" + secrets.token_urlsafe(32)
    print(f"Key, shown this once:  {key}")
    print(f"For WEIR_API_KEYS:     {arguments.name}:{hashlib.sha256(key.encode()).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
