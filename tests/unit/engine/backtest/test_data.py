"""Recordings: what is written is read back, mapped where it can be, and every fault is named."""

import io
import random
import zipfile

import numpy as np
import pytest

from engine.backtest.data import as_events, iter_events, load_events, save_events
from engine.core.errors import DataError
from engine.core.types import EXCH_EVENT, LOCAL_EVENT, event_dtype

BOTH = EXCH_EVENT | LOCAL_EVENT


def some_events(n: int = 100) -> np.ndarray:
    events = np.zeros(n, event_dtype)
    events["ev"] = 1 | BOTH
    events["exch_ts"] = 10**18 + np.arange(n)
    events["local_ts"] = events["exch_ts"] + 5
    events["px"] = 100.0 + np.arange(n)
    events["qty"] = 1.0
    return events


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_saved_is_loaded(tmp_path, compress):
    path = tmp_path / "x.npz"
    save_events(path, some_events(), compress=compress)
    assert np.array_equal(load_events(path), some_events())
    assert np.array_equal(np.load(path)["data"], some_events())
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]


def test_an_uncompressed_recording_is_mapped_and_aligned(tmp_path):
    path = tmp_path / "x.npz"
    save_events(path, some_events())
    events = load_events(path)
    assert isinstance(events.base, np.memmap)
    assert not events.flags.writeable
    assert events.ctypes.data % 64 == 0


def test_saving_twice_gives_the_same_bytes(tmp_path):
    save_events(tmp_path / "a.npz", some_events())
    save_events(tmp_path / "b.npz", some_events())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("save", [np.save, np.savez, np.savez_compressed])
def test_numpys_own_files_load(tmp_path, save):
    path = tmp_path / ("x.npy" if save is np.save else "x.npz")
    save(path, some_events()) if save is np.save else save(path, data=some_events())
    events = load_events(path)
    assert events.ctypes.data % 8 == 0
    assert np.array_equal(events, some_events())


def test_no_events_at_all(tmp_path):
    save_events(tmp_path / "x.npz", some_events(0))
    assert len(load_events(tmp_path / "x.npz")) == 0


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.npz"
    save_events(path, some_events(3))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.backtest.data._write_npz", full)
    with pytest.raises(DataError, match="No space left"):
        save_events(path, some_events(4))
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]
    assert len(load_events(path)) == 3


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        save_events(tmp_path / "no" / "x.npz", some_events(1))


def test_an_array_is_returned_as_it_is():
    events = some_events()
    assert load_events(events) is events


def test_fields_in_another_order_and_without_the_optional_ones():
    wanted = ["local_ts", "exch_ts", "ev", "qty", "px"]
    other = np.zeros(100, [(name, event_dtype[name]) for name in wanted])
    for name in wanted:
        other[name] = some_events()[name]
    assert np.array_equal(load_events(other), some_events())


@pytest.mark.parametrize(
    ("dtype", "field"),
    [
        ([("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8")], "qty"),
        ([("ev", "u8"), ("exch_ts", "f8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8")], "exch_ts"),
        ([("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "U8"), ("qty", "f8")], "px"),
        (
            [("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8"), ("z", "i8")],
            "z",
        ),
    ],
)
def test_wrong_fields_are_named(dtype, field):
    with pytest.raises(DataError) as caught:
        as_events(np.zeros(3, dtype))
    assert caught.value.field == field


def test_a_plain_array_is_refused():
    with pytest.raises(DataError, match="float64, not of events"):
        load_events(np.zeros(8))
    with pytest.raises(DataError, match="one dimension"):
        load_events(np.zeros((2, 2), event_dtype))


def test_a_value_that_does_not_fit_is_refused():
    other = np.zeros(3, [(name, "i8" if name == "ev" else event_dtype[name]) for name in event_dtype.names])
    other["ev"] = [1 | BOTH, -1, 1]
    with pytest.raises(DataError, match="row 1, field ev: -1 is out of range"):
        load_events(other)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ev", 1, "flag"),
        ("ev", BOTH, "no kind"),
        ("px", np.nan, "finite"),
        ("px", np.inf, "finite"),
        ("qty", np.nan, "finite"),
        ("exch_ts", 5, "earlier"),
        ("local_ts", 5, "earlier"),
    ],
)
def test_a_faulty_row_is_named(tmp_path, field, value, message):
    events = some_events()
    events[field][42] = value
    path = tmp_path / "x.npz"
    save_events(path, events)
    with pytest.raises(DataError, match=message) as caught:
        load_events(path)
    assert (caught.value.file, caught.value.row, caught.value.field) == (str(path), 42, field)
    assert str(path) in str(caught.value)
    with pytest.raises(DataError) as chunked:
        list(iter_events(path, 10))
    assert chunked.value.row == 42


def test_each_side_has_its_own_order():
    events = some_events(2)
    events["ev"] = [1 | EXCH_EVENT, 1 | LOCAL_EVENT]
    events["exch_ts"] = [10, 5]
    assert load_events(events) is events


def test_order_is_checked_across_chunks():
    events = some_events(20)
    events["local_ts"][10] = 1
    with pytest.raises(DataError, match="row 10, field local_ts"):
        list(iter_events(events, 10))


def test_chunks_are_the_recording():
    assert np.array_equal(np.concatenate(list(iter_events(some_events(), 33))), some_events())


def test_a_clear_may_have_no_price():
    events = some_events(1)
    events["ev"] = 3 | BOTH
    events["px"] = np.nan
    assert len(load_events(events)) == 1


@pytest.mark.parametrize("name", ["stored.npz", "deflated.npz", "numpy.npz", "plain.npy"])
def test_a_truncated_file_is_refused_at_every_length(tmp_path, name):
    whole = tmp_path / name
    if name == "plain.npy":
        np.save(whole, some_events())
    elif name == "numpy.npz":
        np.savez(whole, data=some_events())
    else:
        save_events(whole, some_events(), compress=name == "deflated.npz")
    content = whole.read_bytes()
    cut = tmp_path / f"cut-{name}"
    for length in [*range(min(300, len(content))), *range(300, len(content), 211), len(content) - 1]:
        cut.write_bytes(content[:length])
        with pytest.raises(DataError, match=cut.name):
            load_events(cut)


@pytest.mark.parametrize("compress", [False, True])
def test_flipped_bytes_never_crash(tmp_path, compress):
    save_events(tmp_path / "x.npz", some_events(50), compress=compress)
    content = bytearray((tmp_path / "x.npz").read_bytes())
    chance = random.Random(7)
    path = tmp_path / "y.npz"
    named = set()
    for _ in range(400):
        mutated = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        path.write_bytes(mutated)
        try:
            events = load_events(path)
        except DataError as error:
            named.add(error.file)
        else:
            assert events.dtype == event_dtype
    assert named == {str(path)}


def test_files_that_are_no_recordings(tmp_path):
    text = tmp_path / "x.txt"
    text.write_text("hello")
    with pytest.raises(DataError, match="neither an npz nor an npy"):
        load_events(text)
    with pytest.raises(DataError, match="No such file"):
        load_events(tmp_path / "absent.npz")
    with pytest.raises(DataError, match="directory"):
        load_events(tmp_path)
    other = tmp_path / "other.npz"
    np.savez(other, prices=np.zeros(3))
    with pytest.raises(DataError, match=r"no array 'data' in it, only prices\.npy"):
        load_events(other)


def test_pickled_objects_are_never_loaded(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, data=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError):
        load_events(path)
    inner = io.BytesIO()
    np.save(inner, np.array([{"a": 1}], dtype=object))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", inner.getvalue())
    with pytest.raises(DataError):
        load_events(path)


@pytest.mark.parametrize("field", ["exch_ts", "local_ts"])
@pytest.mark.parametrize("value", [-1, -(2**63), 2**62, 2**63 - 1])
def test_a_time_that_cannot_be_added_to_is_refused(field, value):
    rows = some_events(1)
    rows[field] = value
    with pytest.raises(DataError, match=f"row 0, field {field}: {value}: not a time"):
        load_events(rows)
