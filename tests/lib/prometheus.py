# SPDX-License-Identifier: BSD-3-Clause
"""prometheus.py - reads Prometheus' text format 0.0.4 and refuses what does not keep to it.

parse(text) gives {name: Family}; a sample is (name, {label: value}) -> number.
"""
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?([eE][-+]?\d+)?|Inf|NaN)$")


class Family:
    def __init__(self, name):
        self.name, self.help, self.type, self.samples = name, None, None, {}

    def __getitem__(self, labels):
        """The value of the one sample whose labels include these."""
        found = [v for (_, have), v in self.samples.items() if labels.items() <= dict(have).items()]
        assert len(found) == 1, f"{self.name}: {len(found)} samples have {labels}"
        return found[0]


def unescape(text):
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text)


def parse_labels(text, line):
    labels, at = [], 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match, f"labels: {line}"
        labels.append((match[1], unescape(match[2])))
        at = match.end()
        assert at == len(text) or text[at] == ",", f"labels: {line}"
        at += 1
    assert len({name for name, _ in labels}) == len(labels), f"a label twice: {line}"
    return tuple(sorted(labels))


def parse_sample(line):
    name = NAME.match(line)[0]
    rest = line[len(name):]
    labels = ()
    if rest.startswith("{"):
        end = rest.rindex("}")
        labels, rest = parse_labels(rest[1:end], line), rest[end + 1:]
    assert rest.startswith(" ") and NUMBER.match(rest[1:]), f"value: {line}"
    return name, labels, float(rest[1:])


def family_of(families, name):
    for suffix in ("_bucket", "_sum", "_count"):
        base = name[:-len(suffix)] if name.endswith(suffix) else None
        if base in families and families[base].type == "histogram":
            return families[base]
    assert name in families, f"{name}: a sample without # TYPE"
    assert families[name].type != "histogram", f"{name}: a histogram has no plain samples"
    return families[name]


def check_histogram(family):
    series = {}
    for (name, labels), value in family.samples.items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        mine = series.setdefault(rest, {"buckets": []})
        if name.endswith("_bucket"):
            mine["buckets"].append((float(dict(labels)["le"].replace("Inf", "inf")), value))
        else:
            mine[name[len(family.name):]] = value
    for labels, mine in series.items():
        counts = [count for _, count in sorted(mine["buckets"])]
        assert counts == sorted(counts), f"{family.name}{labels}: buckets are not cumulative"
        assert sorted(mine["buckets"])[-1] == (float("inf"), mine["_count"]), f"{family.name}{labels}: +Inf"
        assert (mine["_sum"] > 0) == (mine["_count"] > 0), f"{family.name}{labels}: sum"


def check_family(family):
    assert family.help and family.type in ("counter", "gauge", "histogram"), f"{family.name}: head"
    assert (family.type == "counter") == family.name.endswith("_total"), f"{family.name}: _total"
    assert not re.search(r"(_ns|_ms|_us|milli|micro|nano|_kb|_mb)", family.name), f"{family.name}: unit"
    for (name, labels), value in family.samples.items():
        assert value >= 0, f"{name}{labels}: {value}"
    if family.type == "histogram":
        check_histogram(family)


def parse(text):
    families, current = {}, None
    assert text.endswith("\n"), "the last line has no end"
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            _, what, name, rest = line.split(" ", 3)
            assert what in ("HELP", "TYPE") and NAME.fullmatch(name), line
            if what == "HELP":
                assert name not in families, f"{name}: twice"
                current = families[name] = Family(name)
                current.help = rest
            else:
                assert current is not None and current.name == name and current.type is None, line
                current.type = rest
            continue
        name, labels, value = parse_sample(line)
        family = family_of(families, name)
        assert family is current, f"{name}: its samples do not stand together"
        assert (name, labels) not in family.samples, f"twice: {line}"
        family.samples[name, labels] = value
    for family in families.values():
        check_family(family)
    return families
