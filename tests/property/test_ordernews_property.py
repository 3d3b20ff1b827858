"""What compiled code makes of ORDER records beside the codec and the protocol's structs, byte by byte."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import codec, ordernews, records
from bridge import protocol as p
from bridge.streams import order_ended
from engine.core.errors import RingCorrupt
from engine.core.types import OrdType, Reason, Status, TimeInForce
from engine.risk.codes import DENY_CODES
from engine.runtime.records import Kind, order_record_dtype, record_dtype

I64, U64 = st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1)
FLOATS = st.floats(width=64)
NAMES = st.text(min_size=0, max_size=300)
FIELDS = st.fixed_dictionaries(
    {
        "header": st.fixed_dictionaries(
            {
                "ts": I64,
                "step": U64,
                "strategy": st.integers(0, 2**16 - 1),
                "instrument": st.integers(0, 2**16 - 1),
                "dropped": st.integers(0, 2**32 - 1),
            }
        ),
        "row": st.fixed_dictionaries(
            dict.fromkeys(("px", "qty", "leaves_qty", "cum_exec_qty", "exec_qty", "exec_px"), FLOATS)
            | {"prev_status": st.sampled_from(Status), "journal_seq": U64}
        ),
        "order": st.fixed_dictionaries(
            {
                "order_id": U64,
                "client_order_id": U64,
                "exch_ts": I64,
                "queue_ahead": FLOATS,
                "queue_traded": FLOATS,
                "fee": FLOATS,
                "side": st.sampled_from([1, -1]),
                "order_type": st.sampled_from([OrdType.LIMIT, OrdType.MARKET]),
                "time_in_force": st.sampled_from(TimeInForce),
                "status": st.sampled_from(Status),
                "is_maker": st.integers(0, 1),
                "reason": st.sampled_from(Reason),
            }
        ),
    }
)


def batch_of(fields):
    batch = np.zeros(1, record_dtype)
    row = batch["payload"].view(order_record_dtype)
    batch["kind"] = Kind.ORDER
    for target, values in ((batch, fields["header"]), (row, fields["row"]), (row["order"], fields["order"])):
        for name, value in values.items():
            target[name] = value
    return batch


def news_of(fields):
    ((kind, (head,), (news,)),) = records.runs(batch_of(fields))
    assert kind == Kind.ORDER
    assert head is news
    return news


def named(fields):
    """What both messages say of the codes."""
    order, status = fields["order"], fields["order"]["status"]
    reason = "" if order["reason"] == Reason.NONE else order["reason"].name.lower()
    denied = status == Status.DENIED
    return (
        (
            {1: "buy", -1: "sell"}[order["side"]],
            "limit" if order["order_type"] == OrdType.LIMIT else "market",
            order["time_in_force"].name,
            status.name,
            fields["row"]["prev_status"].name,
        ),
        reason,
        (
            DENY_CODES.get(order["reason"], "") if denied else "",
            order["queue_ahead"] if denied else 0.0,
            order["queue_traded"] if denied else 0.0,
        ),
    )


@given(FIELDS, st.booleans(), U64, U64, NAMES, NAMES)
def test_both_messages_are_the_codecs_byte_by_byte(fields, executed, epoch, seq, strategy, symbol):
    news, head, row, order = news_of(fields), fields["header"], fields["row"], fields["order"]
    codes, reason, denial = named(fields)
    amounts = (row["px"], row["qty"], row["leaves_qty"])
    execution = p.Execution(
        epoch, seq, head["ts"], order["exch_ts"], strategy, symbol, order["client_order_id"],
        order["order_id"], *codes, *amounts, row["cum_exec_qty"],
        row["exec_px"] if executed else 0.0, row["exec_qty"] if executed else 0.0,
        order["fee"] if executed else 0.0, bool(order["is_maker"]) and executed, reason, head["step"],
        *denial, row["journal_seq"],
    )  # fmt: skip
    assert news.execution(executed, epoch, seq, strategy, symbol) == codec.encode(execution)
    update = p.OrderUpdate(
        epoch, seq, head["ts"], strategy, symbol, order["order_id"], order["client_order_id"], *codes,
        *amounts, reason, head["step"], *denial,
    )  # fmt: skip
    assert news.update(epoch, seq, strategy, symbol) == codec.encode(update)


@given(FIELDS)
def test_it_says_what_the_record_says(fields):
    news, (codes, reason, _) = news_of(fields), named(fields)
    status, before = codes[3:]
    for part, names in (
        ("header", ("strategy", "instrument", "dropped")),
        ("order", ("order_id", "client_order_id", "side")),
        ("row", ("journal_seq",)),
    ):
        assert {name: getattr(news, name) for name in names} == {name: fields[part][name] for name in names}
    assert repr(news.cum_exec_qty) == repr(fields["row"]["cum_exec_qty"])
    assert news.changed == (status != before)
    assert news.denied == (status == "DENIED")
    assert news.ended == order_ended(status, before, reason)


@pytest.mark.parametrize(
    ("name", "value"),
    [("side", 0), ("order_type", 9), ("time_in_force", 200), ("status", 77), ("reason", 255)],
)
def test_a_code_without_a_name_is_named(name, value):
    batch = np.zeros(1, record_dtype)
    batch["kind"] = Kind.ORDER
    row = batch["payload"].view(order_record_dtype)
    row["order"]["side"] = 1
    row["order"][name] = value
    ((_, (news,), _),) = records.runs(batch)
    for make in (lambda: news.execution(True, 1, 1, "s", "x"), lambda: news.update(1, 1, "s", "x")):
        with pytest.raises(RingCorrupt, match=f"{name} {value}"):
            make()


def test_what_is_no_record_is_refused():
    slots = np.zeros((2, 256), np.uint8)
    for begin, end in ((-1, 1), (0, 3), (2, 1)):
        with pytest.raises(ValueError, match="of 2 of 256 bytes"):
            ordernews.orders(slots, begin, end)
    with pytest.raises(ValueError, match="of 2 of 128 bytes"):
        ordernews.orders(slots[:, :128].copy(), 0, 1)
    (news,) = ordernews.orders(slots, 0, 1)
    with pytest.raises(RingCorrupt, match="20000 characters"):
        news.execution(True, 1, 1, "s" * 20_000, "x")
