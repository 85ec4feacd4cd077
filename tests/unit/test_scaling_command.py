"""``scaling.py`` on the parts of a made-up machine: what it finds, predicts and refuses."""

import dataclasses
import json
import sys

import pytest

from tests.unit.test_scaling_model import BENCH, PARTS, Job, Link, machine, update_seconds

sys.path.insert(0, BENCH)
try:
    import scaling
    from scaling_machine import contention_of
finally:
    sys.path.remove(BENCH)


@pytest.mark.parametrize("cores", [1, 2])
def test_contention_is_found_in_an_update_that_workers_made_together(measured, cores):
    document = json.loads(measured.read_text(encoding="utf-8"))
    found, host = document["parts"], {**document["host"], "cores": cores}
    link = Link(found["network"]["latency"], found["network"]["bandwidth"])
    planted = dataclasses.replace(PARTS, contention=1.3)
    other = machine((10.0, 20.0), parts=planted, link=link, per_machine=2, cores=cores)
    found["together"] = update_seconds(other, Job(2)).total
    assert contention_of(found, host) == pytest.approx(1.3)


@pytest.fixture
def measured(tmp_path):
    parts = {**dataclasses.asdict(PARTS), "collate": [0.1, 0.01], "transfer": [0.2, 0.02]}
    parts |= {"positions": [10.0, 20.0], "tokens": 12.0}
    network = {"latency": 0.01, "bandwidth": 1000.0, "workers": 2}
    host = {"device": "D", "devices": 2, "cpu": True, "cores": 2, "load": 0.0, "torch": "2"}
    path = tmp_path / "parts.json"
    path.write_text(
        json.dumps({"parts": {**parts, "network": network}, "host": host, "check": []}),
        encoding="utf-8",
    )
    return path


def simulate(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["scaling.py", *map(str, arguments)])
    scaling.main()


def test_command_predicts_for_a_machine_given_by_flags(measured, tmp_path, monkeypatch, capsys):
    given = ["--pass-ms", 2000, "--bandwidth", 2e-6, "--latency-us", 0, "--cores", "inf"]
    out = tmp_path / "out.json"
    chosen = ["--workers", 2, "--replicas", 1, "--workers-per-machine", 2, "--json", out]
    simulate(monkeypatch, "--machine", measured, *given, *chosen)
    (row,) = json.loads(out.read_text(encoding="utf-8"))["predictions"]
    parts = dataclasses.replace(PARTS, pass_fixed=2.0)
    expected = machine((10.0, 20.0), parts=parts, link=Link(0.0, 2000.0), per_machine=2)
    assert row["update"] == pytest.approx(update_seconds(expected, Job(2)).total)
    assert row["batch"] == 24.0
    assert f"{1e3 * row['update']:.0f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workers-per-machine", "4"], "no more workers a machine than cores"),
        (["--pass-ms", "-1"], "--pass-ms -1.0 is negative"),
        (["--overlap", "2"], "--overlap 2.0 is no share"),
        (["--check"], "--machine measures nothing"),
    ],
)
def test_command_refuses_in_one_line(measured, monkeypatch, flags, message):
    with pytest.raises(SystemExit) as refused:
        simulate(monkeypatch, "--machine", measured, *flags)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_command_predicts_one_worker_where_no_all_reduce_was_measured(
    measured, tmp_path, monkeypatch, capsys
):
    document = json.loads(measured.read_text(encoding="utf-8"))
    document["parts"]["network"] = None
    measured.write_text(json.dumps(document), encoding="utf-8")
    out = tmp_path / "out.json"
    simulate(monkeypatch, "--machine", measured, "--replicas", 1, "--json", out)
    rows = json.loads(out.read_text(encoding="utf-8"))["predictions"]
    assert [row["workers"] for row in rows] == [1]
    assert "give --bandwidth for more" in capsys.readouterr().out
    simulate(monkeypatch, "--machine", measured, "--replicas", 1, "--bandwidth", 1, "--json", out)
    assert len(json.loads(out.read_text(encoding="utf-8"))["predictions"]) == 11
