# SPDX-License-Identifier: BSD-3-Clause
"""man.py - the tables of the verbs as briq-vm(1), in roff with the classic man macros."""
from .verbs import ABOUT, EXITS, MANY, VERBS


def escape(text):
    """Text as roff sees it: hyphens that can be copied, no accidental request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def paragraphs(texts):
    return [line for text in texts for line in (".PP", escape(text))]


def option_lines(option):
    value = f" \\fI{escape(option.value)}\\fR" if option.value else ""
    more = "..." if option.kind == MANY else ""
    return [".TP", f"\\fB\\-\\-{escape(option.name)}\\fR{value}{more}", escape(option.help)]


def synopsis(verb):
    words = [f"\\fBbriq\\-vm {verb.name}\\fR", "[\\fIOPTION\\fR...]"]
    for operand in verb.operands:
        name = operand.name.strip("[]")
        word = f"\\fI{escape(name)}\\fR" + ("..." if operand.many else "")
        if operand.extra:
            word = f"[\\-\\- {word}]"
        elif name != operand.name:
            word = f"[{word}]"
        words.append(word)
    return " ".join(words)


def verb_lines(verb):
    lines = [f".SS \"briq\\-vm {verb.name}\"", escape(verb.summary.capitalize()) + ".", ".PP",
             synopsis(verb), *paragraphs(verb.description)]
    for option in verb.options:
        lines += option_lines(option)
    for command, what in verb.examples:
        lines += [".PP", escape(what), ".PP", ".RS 4", ".nf", escape(command), ".fi", ".RE"]
    return lines


def page(version):
    lines = [f'.TH "BRIQ\\-VM" "1" "" "{version}" "Briq"',
             ".SH NAME", "briq\\-vm \\- QEMU guests on Briq volumes",
             ".SH SYNOPSIS", ".PP",
             "\\fBbriq\\-vm\\fR \\fIVERB\\fR [\\fIOPTION\\fR...] [\\fIARGUMENT\\fR...]",
             ".SH DESCRIPTION", *paragraphs(ABOUT), ".SH VERBS"]
    for verb in VERBS:
        lines += verb_lines(verb)
    lines.append(".SH EXIT STATUS")
    for code, text in EXITS:
        lines += [".TP", str(code), escape(text)]
    lines += [".SH FILES", ".TP", "\\fI/run/briq\\-vm\\fR, \\fI$XDG_RUNTIME_DIR/briq\\-vm\\fR",
              "A directory for each machine, with its monitor, the sockets of the servers that "
              "were started for it, and notes about its disks. It goes away with the machine.",
              ".SH SEE ALSO", "briq(1), nbdkit\\-briq\\-plugin(1), qemu\\-system\\-x86_64(1)"]
    return "\n".join(lines)
