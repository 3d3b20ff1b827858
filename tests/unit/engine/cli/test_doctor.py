"""``ringbook doctor`` finds what is wrong, says what to do, and survives its own checks."""

from __future__ import annotations

import json

import pytest

from engine.cli import doctor, main


def test_a_sound_setup_has_no_problem(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RINGBOOK_RUN_DIR", str(tmp_path / "run"))
    assert main.main(["doctor"]) == 0
    output = capsys.readouterr().out
    assert "all is well" in output
    assert "PROBLEM" not in output


def test_json_lists_the_same_findings(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RINGBOOK_RUN_DIR", str(tmp_path / "run"))
    assert main.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == 0
    assert {"python", "core", "packages", "shared memory", "run directory"} <= {
        finding["check"] for finding in report["findings"]
    }


def test_a_long_run_directory_is_a_problem_with_a_remedy(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RINGBOOK_RUN_DIR", str(tmp_path / ("x" * 120)))
    assert main.main(["doctor"]) == 1
    output = capsys.readouterr().out
    assert "PROBLEM  run directory" in output
    assert "set RINGBOOK_RUN_DIR" in output


def test_a_missing_core_is_explained(monkeypatch):
    monkeypatch.setattr(doctor, "EXTENSIONS", ("engine.core.no_such_module",))
    (finding,) = doctor.check_core()
    assert finding.level == "problem"
    assert "make build" in finding.remedy


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    def broken():
        raise OSError("disk on fire")
        yield

    broken.__name__ = "check_disk"
    monkeypatch.setattr(doctor, "check_python", broken)
    findings = list(doctor.examine())
    assert findings[0].level == "problem"
    assert "disk on fire" in findings[0].message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[engine]\nnam = 'x'\n", "nam"),
        (
            "[[instruments]]\nsymbol = 'A'\ntick_size = 0.1\nlot_size = 1.0\n"
            "[[strategies]]\nid = 's'\nclass = 'no.such.module:Class'\n",
            "no.such.module",
        ),
    ],
)
def test_a_wrong_config_is_explained(tmp_path, capsys, text, expected):
    path = tmp_path / "c.toml"
    path.write_text(text)
    assert main.main(["doctor", "--config", str(path)]) == 1
    assert expected in capsys.readouterr().out
