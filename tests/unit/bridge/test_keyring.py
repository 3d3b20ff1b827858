"""Keys on disk: what is written and how, what is read and what is not, and what a list gives."""

import os
import stat

import pytest
import zmq
from zmq.utils import z85

from bridge import zap
from bridge.auth import ClientKey, find_key, read_key, write_secret
from bridge.errors import BridgeError
from bridge.keyring import LOCAL, KeyDir, Keyring, make_local
from bridge.roles import Grant


@pytest.fixture
def keys(tmp_path):
    return KeyDir(tmp_path / "keys")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_made_with_its_file_and_the_daemons_own(keys, tmp_path):
    entry, path = keys.make("mm", "trader")
    assert (entry.name, entry.role, entry.strategies, entry.revoked) == ("mm", "trader", ("mm",), 0)
    key = read_key(path)
    public, secret = keys.server()
    assert (key.name, key.role, key.public, key.server) == ("mm", "trader", entry.public, public)
    assert zmq.curve_public(key.secret.encode()).decode() == key.public
    assert zmq.curve_public(secret.encode()).decode() == public
    assert mode(keys.path) == 0o700
    assert {mode(file) for file in keys.path.iterdir()} == {0o600}
    assert key.secret not in keys.list_file.read_text() + repr(key)
    _, elsewhere = keys.make("desk", "risk", out=tmp_path / "desk.key")
    assert read_key(elsewhere).server == public
    assert mode(elsewhere) == 0o600
    assert not keys.key_file("desk").exists()
    assert [one.name for one in keys.entries()] == ["mm", "desk"]


def test_a_revoked_key_stays_revoked_and_its_name_is_free_again(keys):
    first, path = keys.make("mm", "trader")
    keys.revoke("mm")
    assert not path.exists()
    with pytest.raises(BridgeError, match="no key 'mm'"):
        keys.revoke("mm")
    second, _ = keys.make("mm", "admin")
    ring = Keyring(keys.path)
    assert ring.grant(first.public) is None
    assert ring.grant(second.public) == Grant(second.public, "mm", "admin", ())


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "x" * 65, "a/b", 'a"b', "ä"])
def test_wrong_names(keys, name):
    with pytest.raises(BridgeError, match="key "):
        keys.make(name, "admin")
    assert not keys.path.exists()


def test_a_name_is_taken_once_and_a_file_never_written_over(keys, tmp_path):
    keys.make("mm", "trader")
    with pytest.raises(BridgeError, match="there is a key 'mm'"):
        keys.make("mm", "trader")
    taken = tmp_path / "taken.key"
    taken.write_text("mine")
    with pytest.raises(BridgeError, match="File exists"):
        keys.make("b", "trader", out=taken)
    assert taken.read_text() == "mine"
    assert [one.name for one in keys.entries()] == ["mm"]


def test_a_bridge_reads_a_changed_list_again(keys):
    first, _ = keys.make("a", "admin")
    ring = Keyring(keys.path)
    second, _ = keys.make("b", "observer")
    ring.refresh()
    assert (ring.grant(second.public).role, ring.lost) == ("observer", False)
    keys.revoke("a")
    ring.refresh()
    assert (ring.grant(first.public), ring.lost) == (None, True)
    assert ring.holds(ring.grant(second.public))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '[{"name": "a"}]',
        "[" * 5000,
        '[{"name":"a","public":"short","role":"admin"}]',
        "\xff",
    ],
)
def test_a_list_that_cannot_be_read_gives_nobody_anything(keys, text):
    entry, _ = keys.make("a", "admin")
    ring = Keyring(keys.path)
    keys.list_file.write_text(text, encoding="latin-1")
    ring.refresh()
    assert (ring.grant(entry.public), ring.lost) == (None, True)
    assert str(keys.list_file) in ring.trouble
    with pytest.raises(BridgeError, match=r"authorized\.json"):
        Keyring(keys.path)


def test_a_list_that_is_gone_or_that_others_may_write_gives_nobody_anything(keys):
    entry, _ = keys.make("a", "admin")
    ring = Keyring(keys.path)
    keys.list_file.chmod(0o666)
    ring.refresh()
    assert ring.grant(entry.public) is None
    keys.list_file.chmod(0o600)
    ring.refresh()
    assert ring.grant(entry.public) is not None
    keys.list_file.unlink()
    ring.refresh()
    assert ring.grant(entry.public) is None


def test_a_key_listed_twice_is_revoked_if_one_of_them_is(keys):
    entry, _ = keys.make("a", "admin")
    keys.revoke("a")
    revoked = keys.entries()[0]
    for order in ([entry, revoked], [revoked, entry]):
        keys._write(order)
        assert Keyring(keys.path).grant(entry.public) is None


def test_files_that_others_may_read_are_refused(keys):
    _, path = keys.make("a", "admin")
    path.chmod(0o640)
    with pytest.raises(BridgeError, match="chmod 600"):
        read_key(path)
    keys.server_file.chmod(0o604)
    with pytest.raises(BridgeError, match="chmod 600"):
        Keyring(keys.path)
    keys.server_file.chmod(0o600)
    keys.path.chmod(0o750)
    with pytest.raises(BridgeError, match="chmod 700"):
        Keyring(keys.path)


@pytest.mark.parametrize(
    "text", ["", "name = 1", "[a]", "x", 'name = "a"', "\xff", "a = " + "[" * 5000, 'name="a"\n' * 9000]
)
def test_files_that_are_no_keys(tmp_path, text):
    path = tmp_path / "x.key"
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)
    with pytest.raises(BridgeError, match=r"x\.key: is no key file"):
        read_key(path)


def test_no_directory_no_keys(keys, tmp_path):
    with pytest.raises(BridgeError, match="No such file"):
        Keyring(keys.path)
    with pytest.raises(BridgeError, match="No such file"):
        read_key(tmp_path / "none")
    with pytest.raises(BridgeError, match="No such file"):
        keys.revoke("a")
    assert not keys.path.exists()


def test_the_key_of_the_environment(keys):
    _, path = keys.make("a", "admin")
    _, other = keys.make("b", "admin")
    environ = {"RINGBOOK_KEY_FILE": str(path)}
    assert find_key("", environ).name == "a"
    assert find_key(other, environ).name == "b"
    assert find_key(None, environ) is None
    assert find_key("", {}) is None


def test_the_local_key_is_made_once_and_never_after_it_was_revoked(keys):
    keys.make("a", "observer")
    make_local(keys.path)
    first = read_key(keys.key_file(LOCAL))
    make_local(keys.path)
    assert read_key(keys.key_file(LOCAL)) == first
    assert first.role == "admin"
    keys.revoke(LOCAL)
    make_local(keys.path)
    assert not keys.key_file(LOCAL).exists()


def test_a_secret_is_not_written_through_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(BridgeError, match="File exists"):
        write_secret(tmp_path / "link", "x")
    before = os.umask(0)
    try:
        write_secret(tmp_path / "open", "x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "open") == 0o600


class Asked:
    """The handler's answers to questions that libzmq would not ask."""

    def __init__(self, keyring):
        self.context = zmq.Context()
        self.zap = zap.Zap(self.context, keyring)
        self.socket = self.context.socket(zmq.REQ)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, 5000)
        self.socket.connect(zap.ADDRESS)

    def ask(self, *frames):
        self.socket.send_multipart(frames)
        assert self.zap.socket.poll(5000)
        assert not self.zap.answer()
        return self.socket.recv_multipart()


def test_only_a_listed_curve_key_in_our_domain_gets_in(keys):
    entry, _ = keys.make("a", "admin")
    raw = z85.decode(entry.public.encode())
    asked = Asked(Keyring(keys.path))
    head = (b"1.0", b"7", b"ringbook", b"10.0.0.9", b"")
    try:
        good = asked.ask(*head, b"CURVE", raw)
        assert good[:3] == [b"1.0", b"7", b"200"]
        assert good[4] == entry.public.encode()
        wrong = [
            (*head, b"CURVE", raw[:31] + b"x"),
            (*head, b"CURVE", raw + b"x"),
            (*head, b"CURVE", b""),
            (*head, b"NULL", raw),
            (*head, b"PLAIN", raw),
            (b"1.0", b"7", b"other", b"10.0.0.9", b"", b"CURVE", raw),
            (b"1.0", b"7", b"", b"10.0.0.9", b"", b"CURVE", raw),
        ]
        for question in wrong:
            assert asked.ask(*question)[2:] == [b"400", b"no access", b"", b""]
        assert asked.zap.refused == {"10.0.0.9": len(wrong)}
        for question in [
            (b"2.0", b"7", *head[2:], b"CURVE", raw),
            (*head, b"CURVE"),
            (*head, b"CURVE", raw, b""),
        ]:
            assert asked.ask(*question)[2] == b"500"
        keys.revoke("a")
        assert asked.ask(*head, b"CURVE", raw)[2] == b"400"
    finally:
        asked.context.destroy(0)


def test_a_key_file_reads_back():
    key = ClientKey("a", "risk", *("%s" % (c * 40) for c in "abc"))
    assert "'a'" in key.text()
    assert repr(key) == "ClientKey('a')"


def test_a_barred_key_is_good_for_nothing_for_a_while(keys, monkeypatch):
    entry, _ = keys.make("a", "observer")
    other, _ = keys.make("b", "observer")
    ring = Keyring(keys.path)
    grant = ring.grant(entry.public)
    now = [1000.0]
    monkeypatch.setattr("bridge.keyring.time.monotonic", lambda: now[0])
    ring.bar("nobody")
    assert not ring.lost
    ring.bar(entry.public)
    assert (ring.grant(entry.public), ring.holds(grant), ring.lost) == (None, False, True)
    assert ring.grant(other.public) is not None
    now[0] += 61
    assert ring.grant(entry.public) == grant
