"""Latency models by name, and interpolation between recorded latencies."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint64_t
from libc.string cimport memset

import numpy as np

from engine.backtest.order cimport SimOrder
from engine.core.codes cimport ERR_NO_IMAGE
from engine.core.image cimport Image, image_fault, image_match, image_move
from engine.core.types cimport STATUS_NEW

from engine.backtest.files import ArrayFile
from engine.core.errors import DataError

latency_dtype = np.dtype(
    [("req_ts", "i8"), ("exch_ts", "i8"), ("resp_ts", "i8"), ("_padding", "i8")], align=True
)


cdef LatencyModel latency_constant(int64_t entry, int64_t modify, int64_t cancel, int64_t response) noexcept nogil:
    """The same latencies for every order; a negative one, but not of answers, refuses."""
    cdef LatencyModel model
    memset(&model, 0, sizeof(LatencyModel))
    model.kind = LATENCY_CONSTANT
    model.entry_ns = entry
    model.modify_ns = modify
    model.cancel_ns = cancel
    model.response_ns = response
    return model


cdef void latency_image(LatencyModel* model, Image* image) noexcept nogil:
    if model.kind == LATENCY_CUSTOM:
        image_fault(image, ERR_NO_IMAGE)
    image_match(image, model.kind)
    image_match(image, <uint64_t>model.entry_ns)
    image_match(image, <uint64_t>model.modify_ns)
    image_match(image, <uint64_t>model.cancel_ns)
    image_match(image, <uint64_t>model.response_ns)
    image_match(image, <uint64_t>model.n_rows)
    image_move(image, &model.entry_at, sizeof(int64_t))
    image_move(image, &model.response_at, sizeof(int64_t))


cdef class Latencies:
    """How long an asset's requests and answers travel, with the recorded latencies that this follows, if it does.

    Args:
        asset: An ``AssetConfig``, or whatever names its latencies so.
        faithful: Move recorded latencies by their offset as hftbacktest 2.4 does.

    Raises:
        DataError: The recorded latencies are missing or wrong; the message names file, row and field.
    """

    def __cinit__(self, asset, bint faithful=False):
        cdef int64_t entry = asset.entry_latency_ns
        cdef int64_t modify = entry if asset.modify_latency_ns is None else asset.modify_latency_ns
        cdef int64_t cancel = entry if asset.cancel_latency_ns is None else asset.cancel_latency_ns
        cdef const int64_t[:, ::1] rows
        self.model = latency_constant(entry, modify, cancel, asset.response_latency_ns)
        self.round_trip = max(entry, modify, cancel) + self.model.response_ns
        if asset.latency_model == "intp_order_latency":
            self.rows = load_latencies(
                asset.order_latency_data, asset.order_latency_offset, faithful=faithful
            )
            rows = self.rows.view(np.int64).reshape(-1, 4)
            self.model.kind = LATENCY_INTERPOLATED
            self.model.rows = <const LatencyRow*>&rows[0, 0]
            self.model.n_rows = rows.shape[0]
            self.round_trip = (self.rows["resp_ts"] - self.rows["req_ts"]).max()

    def entry(self, int64_t now):
        """How long a new order sent at ``now`` travels to the venue; negative when it is refused.

        Calls have to be in order of time, as a run's are.
        """
        cdef SimOrder order
        order.req = STATUS_NEW
        return latency_entry(&self.model, now, &order)

    def response(self, int64_t now):
        """How long an answer that the venue gives at ``now`` travels back; calls as those of :meth:`entry`."""
        cdef SimOrder order
        order.req = STATUS_NEW
        return latency_response(&self.model, now, &order)


cdef inline int64_t _between(int64_t x, int64_t x1, int64_t y1, int64_t x2, int64_t y2) noexcept nogil:
    # In hftbacktest's order of operations, and its conversion, which saturates.
    cdef double rise = (<double>(y2 - y1)) / (<double>(x2 - x1)) * (<double>(x - x1))
    if not rise < 9.2e18:
        return INT64_MAX if rise > 0.0 else y1
    if rise < -9.2e18:
        return INT64_MIN
    return <int64_t>rise + y1


cdef inline int64_t _entry_of(const LatencyRow* row) noexcept nogil:
    # hftbacktest subtracts from an exch_ts of 0 too: a refusal that comes after half a century.
    return row.exch_ts - row.req_ts if row.exch_ts > 0 else row.req_ts - row.resp_ts


cdef int64_t interpolated_entry(LatencyModel* model, int64_t now) noexcept nogil:
    cdef const LatencyRow* row
    cdef const LatencyRow* following
    if now < model.rows[0].req_ts:
        return _entry_of(&model.rows[0])
    while model.entry_at + 1 < model.n_rows:
        row = &model.rows[model.entry_at]
        following = row + 1
        if row.req_ts <= now < following.req_ts:
            if row.exch_ts <= 0 or following.exch_ts <= 0:
                return -_between(
                    now,
                    row.req_ts,
                    row.resp_ts - row.req_ts,
                    following.req_ts,
                    following.resp_ts - following.req_ts,
                )
            return _between(
                now,
                row.req_ts,
                row.exch_ts - row.req_ts,
                following.req_ts,
                following.exch_ts - following.req_ts,
            )
        model.entry_at += 1
    return _entry_of(&model.rows[model.n_rows - 1])


cdef int64_t interpolated_response(LatencyModel* model, int64_t now) noexcept nogil:
    cdef const LatencyRow* row
    cdef const LatencyRow* following
    cdef int64_t latency
    if now < model.rows[0].exch_ts:
        return model.rows[0].resp_ts - model.rows[0].exch_ts
    while model.response_at + 1 < model.n_rows:
        row = &model.rows[model.response_at]
        following = row + 1
        if row.exch_ts <= now < following.exch_ts:
            latency = _between(
                now,
                row.exch_ts,
                row.resp_ts - row.exch_ts,
                following.exch_ts,
                following.resp_ts - following.exch_ts,
            )
            # hftbacktest ends the process here.
            return max(latency, 0)
        model.response_at += 1
    row = &model.rows[model.n_rows - 1]
    return max(row.resp_ts - row.exch_ts, 0)


def _checked(array, name):
    """A copy of recorded order latencies as ``latency_dtype``."""
    fields = ("req_ts", "exch_ts", "resp_ts")
    if array.ndim != 1 or array.dtype.names is None or any(field not in array.dtype.names for field in fields):
        raise DataError(f"order latencies have the fields {', '.join(fields)}, not {array.dtype}", file=name)
    if len(array) == 0:
        raise DataError("no order latencies", file=name)
    rows = np.zeros(len(array), latency_dtype)
    for field in fields:
        if array.dtype[field].kind not in "iu":
            raise DataError(f"{array.dtype[field]}, it has to be whole nanoseconds", file=name, field=field)
        rows[field] = array[field]
    for field, wrong in (
        ("req_ts", np.flatnonzero(np.diff(rows["req_ts"], prepend=rows["req_ts"][0]) < 0)),
        ("resp_ts", np.flatnonzero(rows["resp_ts"] < rows["req_ts"])),
        ("exch_ts", np.flatnonzero((rows["exch_ts"] > 0) & (rows["exch_ts"] > rows["resp_ts"]))),
    ):
        if len(wrong):
            text = "earlier than the request before it" if field == "req_ts" else "not between request and answer"
            raise DataError(f"{rows[field][wrong[0]]}: {text}", file=name, row=int(wrong[0]), field=field)
    return rows


def _move(rows, int64_t offset, name):
    """Adds an offset to the ways there and back, in place."""
    # Refused requests never reached the venue: theirs is one way there and back.
    reached = rows["exch_ts"] > 0
    rows["exch_ts"][reached] += offset
    rows["resp_ts"] += 2 * offset
    for field, wrong in (
        ("exch_ts", reached & (rows["exch_ts"] < rows["req_ts"])),
        ("resp_ts", rows["resp_ts"] < np.where(reached, rows["exch_ts"], rows["req_ts"])),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            text = f"with an offset of {offset} ns it is earlier than what it follows"
            raise DataError(f"{rows[field][row]}: {text}", file=name, row=row, field=field)


def load_latencies(recordings, int64_t offset=0, *, bint faithful=False):
    """Loads recorded order latencies.

    Args:
        recordings: ``.npz`` (array ``data``) or ``.npy`` files or arrays, in order of request times, with the fields
            ``req_ts``, ``exch_ts`` and ``resp_ts``. An ``exch_ts`` of 0 says that the venue refused the request.
        offset: Nanoseconds added to each way to the venue and to each way back.
        faithful: Move as hftbacktest 2.4 does: refusals get a venue's time, and latencies may become negative.

    Returns:
        A ``latency_dtype`` array of shape ``(n,)``, n at least 1.

    Raises:
        DataError: A file is missing or corrupt, has no rows or other fields, request times decrease, or an answer
            comes before its request, with the offset or without.
    """
    parts = []
    end = INT64_MIN
    for number, recording in enumerate(recordings):
        given = isinstance(recording, np.ndarray)
        name = f"order latencies[{number}]" if given else str(recording)
        rows = _checked(recording if given else ArrayFile(recording).read(), name)
        if rows["req_ts"][0] < end:
            text = f"earlier than {end}, the last request of the file before"
            raise DataError(f"{rows['req_ts'][0]}: {text}", file=name, row=0, field="req_ts")
        end = int(rows["req_ts"].max())
        if faithful:
            rows["exch_ts"] += offset
            rows["resp_ts"] += 2 * offset
        else:
            _move(rows, offset, name)
        parts.append(rows)
    return np.concatenate(parts)
