# SPDX-License-Identifier: BSD-3-Clause
"""figures.py - asks `briq stat` what the daemon of this test has counted."""
import json
import subprocess

KINDS = ("read", "write", "flush", "trim", "zero", "cache", "status", "other")


def report(*words):
    out = subprocess.run(["briq", "stat", "--json", *words], check=True, stdout=subprocess.PIPE)
    daemon, = json.loads(out.stdout)
    return daemon


def export(name):
    daemon = report(name)
    found, = daemon["exports"]
    found["clients"] = daemon["clients"]
    return found


def wait_until(name, condition):
    """Asks until it is so; the test's time limit ends what never comes."""
    while True:
        found = export(name)
        if condition(found):
            return found


def when_idle(name):
    """The figures of an export when the server has seen that all clients have left."""
    return wait_until(name, lambda found: found["connections"] == 0)


def check_sums(found):
    """What must be true of any export that nobody uses."""
    counters, latency = found["counters"], found["latency"]
    ops = 0
    for kind in KINDS:
        ops += counters[kind]["ops"]
        counted = latency.get(kind, {"counters": {"count": 0, "buckets": {}}})["counters"]
        assert counted["count"] == counters[kind]["ops"], f"{kind}: latencies are not requests"
        assert sum(counted["buckets"].values()) == counted["count"], f"{kind}: buckets"
        if counted["count"]:
            of = latency[kind]
            assert 0 < of["p50_ns"] <= of["p99_ns"] <= of["p999_ns"] <= of["max_ns"], kind
            assert counted["sum_ns"] <= of["max_ns"] * counted["count"], kind
    assert found["in_flight"] == 0, f"{found['in_flight']} are in flight"
    assert counters["taken"] == ops + counters["abandoned"], "taken and not answered"


def check_kind(found, kind, ops, count, errors=0):
    got = found["counters"][kind]
    assert got == {"ops": ops, "bytes": count, "errors": errors}, f"{kind}: {got}"
