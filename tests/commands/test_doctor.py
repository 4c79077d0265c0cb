"""The doctor on a real plugin under a vendor's name, healthy and with injected faults; each case a real command."""

import json
import os

import pytest

from alexnet_jax.__main__ import main
from alexnet_jax.backend.checks import CHECKS
from alexnet_jax.backend.doctor import Report
from alexnet_jax.commands import doctor
from tests.backend import plugin


def _doctor(tmp_path, *arguments: str, **variables: str):
    return plugin.run("alexnet_jax", "doctor", *arguments, cwd=tmp_path, **variables)


def _examine(tmp_path, *only: str, **variables: str) -> tuple[int, dict, str]:
    """Returns the exit status, the report and what was printed of the doctor on the shim."""
    file = tmp_path / "report.json"
    arguments = ("--backend", "ascend", "--library", plugin.library(), "--json", str(file))
    run = _doctor(tmp_path, *arguments, *(f"--only={part}" for part in only), **variables)
    assert file.exists(), run.stderr
    return run.returncode, json.loads(file.read_text()), run.stdout


def _statuses(report: dict) -> dict[str, str]:
    return {row["name"]: row["status"] for row in report["rows"]}


ALL = [*(check.name for check in CHECKS), "checkpoint save and restore"]


def test_a_healthy_plugin(tmp_path):
    status, report, printed = _examine(tmp_path)
    statuses = _statuses(report)
    assert status == 0
    assert list(statuses) == ALL
    lacking = {"donation", "memory statistics"}
    assert {name for name, result in statuses.items() if result != "ok"} == lacking
    assert report["can_train"]
    assert report["platforms"]["ascend"]["count"] == 4
    assert report["platforms"]["ascend"]["kind"] == "Shim 910B"
    assert printed.splitlines()[-1] == (
        "AlexNet can train on this backend, without: donation, memory statistics"
    )
    assert "ascend: 4 x Shim 910B" in printed
    assert "the reference itself" not in printed


def test_a_refused_operation_is_named(tmp_path):
    status, report, printed = _examine(tmp_path, "max pool", SHIM_REFUSE="select_and_scatter")
    statuses = _statuses(report)
    refused = ["max pool 3x3/2 gradient", "max pool 2x2/2 gradient"]
    assert status == 1
    assert [name for name in refused if statuses[name] == "unsupported"] == refused
    assert printed.splitlines()[-1] == (
        "AlexNet cannot train on this backend: max pool 3x3/2 gradient, max pool 2x2/2 gradient"
    )


def test_after_a_crash_the_rest_still_runs(tmp_path):
    status, report, _ = _examine(tmp_path, "counting hits", "checkpoint", SHIM_CRASH="jit__counts")
    statuses = _statuses(report)
    assert status == 1
    assert list(statuses) == ["counting hits", "checkpoint save and restore"]
    assert statuses["counting hits"] == "CRASH"
    assert statuses["checkpoint save and restore"] == "ok"
    (row,) = (row for row in report["rows"] if row["name"] == "counting hits")
    assert row["detail"] == "killed by signal 6, SIGABRT: kernel fault"
    assert report["verdict"] == "AlexNet cannot train on this backend: counting hits"


def test_an_operation_that_hangs(tmp_path):
    limit = {"ALEXNET_JAX_BACKEND_TIMEOUT_SECONDS": "20"}
    status, report, _ = _examine(
        tmp_path, "counting hits", "checkpoint", SHIM_STALL="jit__counts", **limit
    )
    assert status == 1
    row, after = report["rows"]
    assert after["status"] == "ok"
    assert (row["name"], row["detail"]) == ("counting hits", "no answer within 20 s")


def test_a_wrong_result(tmp_path):
    wrong = {"SHIM_WRONG": "maximum_v1=minimum_v1"}
    status, report, printed = _examine(tmp_path, "bias and ReLU", "dense layer", **wrong)
    statuses = _statuses(report)
    assert status == 1
    assert statuses["bias and ReLU"] == "WRONG"
    assert statuses["dense layer"] == "ok"
    assert "AlexNet cannot train on this backend: bias and ReLU" in printed


def test_chosen_checks_are_no_verdict_on_the_whole(tmp_path):
    variables = {"JAX_PLATFORMS": "cpu"}
    run = _doctor(tmp_path, "--only=top-5", "--json=-", **variables)
    report = json.loads(run.stdout)
    assert (run.returncode, report["can_train"]) == (0, False)
    assert report["verdict"] == "1 chosen checks ran, and nothing that training needs failed"
    assert report["is_reference"]
    printed = _doctor(tmp_path, "--only=top-5", **variables).stdout
    assert "\nthis is the reference itself: differences are zero by construction\n" in printed
    none = _doctor(tmp_path, "--only=teleport", **variables)
    assert (none.returncode, none.stderr) == (2, "no check's name has 'teleport' in it.\n")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("nowhere/report.json", "there is no directory {0}/nowhere; make it first."),
        ("", "is a directory; name a file in it."),
    ],
)
def test_where_it_cannot_write_it_does_not_begin(tmp_path, monkeypatch, capsys, file, message):
    monkeypatch.setattr(doctor, "examine", lambda *_: pytest.fail("it was examined"))
    assert main(["doctor", "--json", str(tmp_path / file)]) == 2
    assert message.format(tmp_path) in capsys.readouterr().err


def test_where_it_may_not_write_it_does_not_begin(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda *_: pytest.fail("it was examined"))
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path or mode != os.W_OK)
    assert main(["doctor", "--json", str(tmp_path / "report.json")]) == 2
    advice = f"make {tmp_path} writable, or name another place."
    assert capsys.readouterr().err == f"--json={tmp_path}/report.json cannot be written; {advice}\n"


def test_a_report_that_cannot_be_written_is_printed(tmp_path, monkeypatch, capsys):
    file = tmp_path / "report.json"

    def examine(*_):
        file.mkdir()  # after the check, as a disk can fill
        return Report("cpu", {}, {}, [])

    monkeypatch.setattr(doctor, "examine", examine)
    assert main(["doctor", "--json", str(file)]) == 2
    printed = capsys.readouterr()
    assert "AlexNet can train on this backend" in printed.out
    assert printed.err == (
        f"{file} cannot be written (Is a directory); make room or make it writable, or name another place.\n"
    )


def test_a_backend_that_does_not_start(tmp_path):
    run = _doctor(
        tmp_path, "--backend", "ascend", "--library", plugin.library(), SHIM_FAULT="abort"
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(
        "backend 'ascend': the plugin crashed while starting (killed by signal 6, SIGABRT: aclInit failed)."
    )


def test_jax_s_own_choice_that_does_not_start(tmp_path):
    run = _doctor(tmp_path, JAX_PLATFORMS="cdua")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("JAX does not start with JAX_PLATFORMS='cdua': ")


def test_without_arguments_the_default_device(tmp_path):
    run = _doctor(tmp_path, "--json", "-", JAX_PLATFORMS="cpu", JAX_NUM_CPU_DEVICES="4")
    report = json.loads(run.stdout)
    assert run.returncode == 0
    assert report["platforms"] == {"cpu": {"kind": "cpu", "count": 4, "version": "cpu"}}
    assert set(report["versions"]) >= {"jax", "jaxlib"}
    assert set(_statuses(report)) == set(ALL)
