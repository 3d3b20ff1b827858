"""Sends malformed frames to each socket of a real daemon's bridge, and looks at what they cost.

The bridge must live on in the same process, its resident set must hardly grow, the engine must not notice,
and a client must be served afterwards. Whether the engine notices is asked apart, by slices of time with and
without the flood (tests/kit/quiet_engine).

    python -m tests.fuzz.frames --frames 10000000 --rounds 20 --seed 1
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import zmq

from bridge import codec
from bridge import protocol as p
from bridge.client import connect
from bridge.errors import BridgeError
from tests.kit.daemons import SIMULATED, Daemon
from tests.kit.patience import PATIENT
from tests.kit.quiet_engine import Comparison, Timing, apart, compare, keep_feed_with_engine

POOL = 4096
WARM = 20_000
MAX_GROWTH = 16 << 20
LONG = 1_000_000
"""Frames of a flood so long that a bridge grows meanwhile by what it keeps of the market for replays."""
SETTLED = 256 << 10
PAGE = 4096
MARKS = (0.2, 0.5, 1.0)
"""Shares of a flood after which the resident set is looked at: a leak grows with each frame."""
VALID = [
    p.Hello(1, "x", "trader", "mm", ["BTCUSDT"], {"a": 1}),
    p.Heartbeat(5),
    p.Submit(7, "BTCUSDT", "buy", 100.5, 0.25),
    p.Modify(7, 1.0, 1.0),
    p.Cancel(7),
    p.CancelAll("BTCUSDT"),
    p.Signal("x", 1.0, "BTCUSDT"),
    p.SnapshotRequest(1, "md."),
    p.ReplayRequest(1, "md.BTCUSDT.depth", 1),
    p.Kill(1, "mm", "", "x", p.Stamp("n", 1, 1)),
    p.EmergencyStop(1),
    p.UpdateParams(1, "mm", {"half_spread": 2.0}),
    p.UpdateRiskLimits(1, "mm", "BTCUSDT", 1.0, limits={"max_position": 1.0}),
    p.Rearm(1, "abc", "token"),
]
WRONG = [
    None, True, -1, 0, 2**63, 2**64 - 1, -(2**63), float("nan"), float("inf"), -0.0, 1e308, "", "x" * 5000,
    "\x00", "é" * 64, b"\xff", [], {}, [[]], {"a": {"a": 1}}, msgspec.msgpack.Ext(5, b"x" * 9), ["Hello"],
    {1: 2},
]  # fmt: skip


def malformed(rng: random.Random) -> list[bytes]:
    """One message that nobody should send, as its frames."""
    kind = rng.randrange(9)
    frame = codec.encode(rng.choice(VALID))
    if kind == 0:
        frame = rng.randbytes(rng.randrange(200))
    elif kind == 1:
        frame = frame[: rng.randrange(len(frame))]
    elif kind == 2:
        changed = bytearray(frame)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        frame = bytes(changed)
    elif kind == 3:
        fields = msgspec.msgpack.decode(frame)
        fields[rng.randrange(len(fields))] = rng.choice(WRONG)
        frame = msgspec.msgpack.encode(fields)
    elif kind == 4:
        frame = rng.choice((b"\x91", b"\x81\xa1a")) * rng.randrange(1, 20_000)
    elif kind == 5:
        # A length that nothing follows.
        frame = rng.choice((b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9")) + struct.pack(
            ">I", rng.randrange(2**32)
        )
    elif kind == 6:
        frame += rng.randbytes(rng.randrange(1, 50))
    elif kind == 7 and rng.random() < 0.05:
        frame = b"\x98" + b"\xa5Hello" + rng.randbytes(p.MAX_FRAME - 10)
    elif kind == 8:
        return [rng.choice((b"", frame, rng.randbytes(20))) for _ in range(rng.randrange(2, 20))]
    return [frame]


class Sender:
    """Sockets that send a pool's messages in a random order; one of them never reads an answer.

    Args:
        base: The bridge's endpoint.
        name: The socket to send to.
        rng: Decides.
    """

    def __init__(self, base: str, name: str, rng: random.Random) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.rng = rng
        self.pool = [malformed(rng) for _ in range(POOL)]
        self.subscriber = name in ("market", "telemetry")
        self.sockets = []
        for _ in range(4):
            socket = self.context.socket(zmq.XSUB if self.subscriber else zmq.DEALER)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SNDTIMEO, 300_000)
            socket.connect(p.socket_endpoint(base, name))
            self.sockets.append(socket)

    def send(self, count: int) -> None:
        """Sends so many frames, as fast as they are taken."""
        left = count
        while left > 0:
            socket = self.rng.choice(self.sockets)
            for frames in self.rng.choices(self.pool, k=256):
                socket.send_multipart(frames)
                left -= len(frames)
            for one in self.sockets[1:]:
                while one.poll(0):
                    one.recv_multipart()

    def send_for(self, seconds: float) -> None:
        """Sends frames for so long, as fast as they are taken."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.send(256)

    def close(self) -> None:
        """Hangs up."""
        self.context.destroy(0)


class Pulse(threading.Thread):
    """Takes a process's resident set every 20 ms."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.peak = 0
        self.going = True

    def run(self) -> None:
        """Until somebody has enough."""
        while self.going:
            self.peak = max(self.peak, resident(self.pid))
            time.sleep(0.02)

    def end(self) -> int:
        """Stops, and gives the most that there was."""
        self.going = False
        self.join()
        return self.peak


def resident(pid: int) -> int:
    """Bytes of a process that are in memory; 0 if there is none."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0


@dataclass
class Result:
    """What a flood on one socket did."""

    name: str
    frames: int
    seconds: float
    growth: list[int]
    peak: int
    engine: Comparison
    same: bool
    served: bool

    @property
    def well(self) -> bool:
        """Whether the bridge has borne it."""
        return self.same and self.served and max(self.growth) < MAX_GROWTH

    def text(self) -> str:
        """For people."""
        grown = ", ".join(f"{growth / 1e6:+.1f}" for growth in self.growth)
        return (
            f"{self.name:<9} {self.frames} frames in {self.seconds:.1f} s; "
            f"resident set {grown} MB after a fifth, a half and all (at most {self.peak / 1e6:+.1f}); "
            f"{self.engine.text()}; {'same process' if self.same else 'RESTARTED'}, "
            f"{'serves' if self.served else 'DOES NOT SERVE'}"
        )


def flood(daemon: Daemon, base: str, name: str, frames: int, timing: Timing, rng: random.Random) -> Result:
    """Sends malformed frames to one socket."""
    pid = daemon.pid("bridge")
    assert pid is not None
    sender = Sender(base, name, rng)
    sender.send(min(WARM, frames))
    time.sleep(0.5)
    before = resident(pid)
    pulse = Pulse(pid)
    pulse.start()
    begun = time.monotonic()
    sent, growth = 0, []
    for mark in MARKS:
        part = int(frames * mark) - sent
        sender.send(part)
        sent += part
        growth.append(resident(pid) - before)
    seconds = time.monotonic() - begun
    peak = pulse.end()
    time.sleep(0.5)
    growth[-1] = resident(pid) - before
    engine = compare(daemon, lambda: nullcontext(sender.send_for), timing, q=99, rng=rng)
    sender.close()
    served = serves(base)
    same = daemon.pid("bridge") == pid
    return Result(name, frames, seconds, growth, peak - before, engine, same, served)


def settle(daemon: Daemon) -> None:
    """Waits until the bridge keeps as much for replays as it ever will, two minutes at most."""
    pid = daemon.pid("bridge")
    assert pid is not None
    deadline = time.monotonic() + 120
    before, now = 0, resident(pid)
    while now - before > SETTLED and time.monotonic() < deadline:
        time.sleep(10)
        before, now = now, resident(pid)


def serves(base: str) -> bool:
    """Whether a client is answered, with data."""
    try:
        with connect(base, role="admin", **PATIENT) as client:
            wanted = {p.EngineStatus, p.Depth}
            for message in client.messages(p.STATUS_TOPIC, p.depth_topic("BTCUSDT"), timeout=20):
                wanted.discard(type(message))
                if not wanted:
                    break
            else:
                missing = ", ".join(sorted(kind.__name__ for kind in wanted))
                print(f"not served: no {missing}; {client.state}: {client.detail}", file=sys.stderr)
            return not wanted and client.query_status(timeout=20).success
    except BridgeError as error:
        print(f"not served: {error}", file=sys.stderr)
        return False


def campaign(directory: Path, frames: int, seed: int, timing: Timing) -> list[Result]:
    """Floods one socket after the other."""
    rng = random.Random(seed)
    results = []
    with apart() as pinned:
        daemon = Daemon(directory, SIMULATED.replace("[engine]\n", f"[engine]\n{pinned}"))
        base = daemon.start()["endpoint"]
        try:
            if pinned:
                keep_feed_with_engine(daemon)
            if frames >= LONG:
                settle(daemon)
            for name in p.SOCKETS:
                result = flood(daemon, base, name, frames, timing, rng)
                results.append(result)
                print(result.text(), flush=True)
        finally:
            daemon.end()
    return results


def main() -> int:
    """The command; 1 if a bridge has not borne it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=10_000_000, help="on each socket")
    parser.add_argument("--rounds", type=int, default=20, help="of timing the engine, four slices each")
    parser.add_argument("--slice", type=float, default=1.0, help="seconds")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        timing = Timing(args.rounds, args.slice)
        results = campaign(Path(directory), args.frames, args.seed, timing)
    return 0 if all(result.well for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
