# SPDX-License-Identifier: BSD-3-Clause
"""main.py - from argv to a verb, and from a failure to one line and an exit code."""
import argparse
import os
import subprocess
import sys

from . import help as help_text, man, verbs
from .errors import BriqVmError, UsageError
from .verbs import FLAG, MANY, NUMBER


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake is one line and the help is our own."""

    def error(self, message):
        raise UsageError(message)


def parser_of(verb):
    parser = Parser(prog=f"briq-vm {verb.name}", add_help=False, allow_abbrev=False)
    for option in verb.options:
        flag = f"--{option.name}"
        if option.kind == FLAG:
            parser.add_argument(flag, action="store_true", dest=option.key)
        elif option.kind == MANY:
            parser.add_argument(flag, action="append", default=[], dest=option.key)
        else:
            parser.add_argument(flag, dest=option.key, default=option.default,
                                type=int if option.kind == NUMBER else str,
                                choices=option.choices or None)
    for operand in verb.operands:
        if not operand.extra:
            count = "*" if operand.many else "?" if operand.name.startswith("[") else None
            parser.add_argument(operand.key, nargs=count, metavar=operand.name)
    return parser


def parse(verb, words):
    """The arguments of a verb as attributes. Raises UsageError."""
    extra = []
    if any(operand.extra for operand in verb.operands) and "--" in words:
        split = words.index("--")
        words, extra = words[:split], words[split + 1:]
    args = parser_of(verb).parse_intermixed_args(words)
    args.extra = extra
    if getattr(args, "timeout", 1) < 1:
        raise UsageError(f"--timeout {args.timeout}: must be 1 second or more")
    return args


def version():
    """That of the program briq beside which this is installed."""
    try:
        said = subprocess.run(["briq", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "briq-vm"
    return said.stdout.split(",")[0].strip() or "briq-vm"


def about_ourselves(words):
    """What to print for words that are no verb: help, the page, the version. None for others."""
    if not words or words[0] in ("-h", "--help") or words == ["help"]:
        return help_text.of_program()
    if words[0] == "--version":
        return version()
    if words == ["help", "--man"]:
        return man.page(version())
    if words[0] == "help" and len(words) == 2 and verbs.find(words[1]):
        return help_text.of_verb(verbs.find(words[1]))
    return None


def dispatch(words):
    text = about_ourselves(words)
    if text is not None:
        print(text)
        return 0
    verb = verbs.find(words[0])
    if verb is None:
        raise UsageError(f"there is no verb '{words[0]}': see briq-vm --help")
    mine = words[:words.index("--")] if "--" in words else words
    if "--help" in mine or "-h" in mine:
        print(help_text.of_verb(verb))
        return 0
    return verb.run(parse(verb, words[1:]))


def main(words):
    """Runs briq-vm with the words of its command line and returns its exit code."""
    name = " ".join(["briq-vm", *words[:1]]) if words and verbs.find(words[0]) else "briq-vm"
    try:
        return dispatch(words)
    except BriqVmError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        what = error.filename or "the system"
        print(f"{name}: {what}: {error.strerror or error}", file=sys.stderr)
        return BriqVmError.exit_code
    except KeyboardInterrupt:
        return 130
