# SPDX-License-Identifier: BSD-3-Clause
"""help.py - the tables of the verbs as --help shows them, no wider than 80 columns."""
import textwrap

from .verbs import ABOUT, EXITS, MANY, VERBS

WIDTH = 80
INDENT = 22


def usage(verb):
    words = ["briq-vm", verb.name, "[OPTION...]"]
    for operand in verb.operands:
        name = operand.name + ("..." if operand.many else "")
        words.append(f"[-- {name}]" if operand.extra else name)
    return " ".join(words)


def option_form(option):
    return f"--{option.name}" + (f" {option.value}" if option.value else "")


def _entry(form, text):
    lines = textwrap.wrap(text, WIDTH - INDENT)
    if len(form) <= INDENT - 4:
        lines[0] = f"  {form}".ljust(INDENT) + lines[0]
        return [lines[0]] + [" " * INDENT + line for line in lines[1:]]
    return [f"  {form}"] + [" " * INDENT + line for line in lines]


def of_verb(verb):
    lines = [f"Usage: {usage(verb)}"]
    for paragraph in verb.description:
        lines += ["", *textwrap.wrap(paragraph, WIDTH)]
    lines += ["", "Options:"]
    for option in verb.options:
        form = option_form(option) + ("..." if option.kind == MANY else "")
        lines += _entry(form, option.help)
    lines += _entry("-h, --help", "Print this text.")
    lines += ["", "Examples:"]
    for command, what in verb.examples:
        lines += [f"  {command}", *(f"      {line}" for line in textwrap.wrap(what, WIDTH - 6))]
    return "\n".join(lines)


def of_program():
    lines = ["Usage: briq-vm VERB [OPTION...] [ARGUMENT...]"]
    for paragraph in ABOUT:
        lines += ["", *textwrap.wrap(paragraph, WIDTH)]
    lines += ["", "Verbs:"]
    lines += [f"  {verb.name:<10}{verb.summary}" for verb in VERBS]
    lines += ["", "Exit codes:"]
    lines += [f"  {code}  {text}" for code, text in EXITS]
    lines += ["", "`briq-vm VERB --help` says more; `man briq-vm` has all of it."]
    return "\n".join(lines)
