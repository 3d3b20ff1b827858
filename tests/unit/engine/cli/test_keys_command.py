"""``ringbook keys``: what it makes, says and refuses."""

import json

import pytest

from bridge.auth import read_key
from bridge.keyring import KeyDir
from engine.cli import main as cli
from engine.cli.keys import own_key


def run(capsys, *arguments):
    try:
        code = cli.main(["keys", *map(str, arguments)])
    except SystemExit as error:
        code = error.code
    return code, capsys.readouterr()


def test_make_list_and_revoke(tmp_path, capsys):
    where = ("--keys", tmp_path / "keys")
    code, said = run(capsys, "make", "mm", "--role", "trader", "--strategy", "a", "--strategy", "b", *where)
    assert code == 0
    assert said.out.startswith(f"key mm, trader for a, b: {tmp_path}/keys/mm.key\n")
    assert read_key(tmp_path / "keys/mm.key").secret not in said.out
    code, said = run(capsys, "make", "desk", "--role", "risk", "--json", *where)
    made = json.loads(said.out)
    assert (made["role"], made["file"]) == ("risk", f"{tmp_path}/keys/desk.key")
    assert "secret" not in made
    code, said = run(capsys, "list", *where)
    assert [line.split()[:3] for line in said.out.splitlines()] == [
        ["mm", "trader", "made"],
        ["desk", "risk", "made"],
    ]
    assert run(capsys, "revoke", "mm", *where)[0] == 0
    code, said = run(capsys, "--json", "list", *where)
    assert [bool(key["revoked"]) for key in json.loads(said.out)["keys"]] == [True, False]


@pytest.mark.parametrize(
    "arguments",
    [
        ("make", "mm"),
        ("make", "mm", "--role", "root"),
        ("make", "../mm", "--role", "admin"),
        ("make", "mm", "--role", "risk", "--strategy", "a"),
        ("make", "mm", "--role", "trader", "--strategy", "a b"),
        ("revoke", "nobody"),
        (),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(tmp_path, capsys, arguments):
    code, said = run(capsys, *arguments, *(("--keys", tmp_path / "keys") if arguments else ()))
    assert code == 2
    assert "Traceback" not in said.err
    assert said.err


def test_the_directory_is_found(tmp_path, capsys, monkeypatch):
    config = tmp_path / "d.toml"
    config.write_text(
        f'[bridge]\nkeys = "{tmp_path}/a"\n[[instruments]]\nsymbol = "X"\ntick_size = 1\nlot_size = 1\n'
    )
    assert run(capsys, "make", "x", "--role", "admin", "--config", config)[0] == 0
    assert KeyDir(tmp_path / "a").entries()
    config.write_text('[[instruments]]\nsymbol = "X"\ntick_size = 1\nlot_size = 1\n')
    code, said = run(capsys, "list", "--config", config)
    assert code == 2
    assert "names no directory" in said.err
    monkeypatch.setenv("RINGBOOK__BRIDGE__KEYS", str(tmp_path / "b"))
    assert run(capsys, "list")[1].out == f"no keys in {tmp_path}/b\n"
    monkeypatch.delenv("RINGBOOK__BRIDGE__KEYS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    assert run(capsys, "list")[1].out == f"no keys in {tmp_path}/c/ringbook/keys\n"


def test_which_key_a_command_takes(tmp_path, monkeypatch):
    keys = KeyDir(tmp_path)
    tmp_path.chmod(0o700)
    _, named = keys.make("named", "risk")
    monkeypatch.setenv("RINGBOOK_KEY_FILE", str(named))
    assert own_key("", str(tmp_path))[1].name == "named"
    assert own_key("", None)[1].name == "named"
    assert own_key("", "") == (None, None)
    assert own_key(str(named), "")[1].name == "named"
    monkeypatch.delenv("RINGBOOK_KEY_FILE")
    assert own_key("", str(tmp_path)) == (None, None)
    keys.make("local", "admin")
    assert own_key("", str(tmp_path))[1].name == "local"
