"""Tries unknown, wrong and revoked keys on every socket of a bridge that publishes all the while.

Not one of them may get in or get one byte of application data, and a client with a good key must not notice.

    python -m tests.fuzz.keys --tries 10000 --seed 1
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from bridge import protocol as p
from bridge.auth import read_key
from bridge.client import connect
from bridge.keyring import KeyDir
from tests.kit.fake_engine import BridgeProcess, FakeEngine, free_port_base
from tests.kit.patience import PATIENT
from tests.kit.strangers import KINDS, knock

REVOKED = 8


def campaign(directory: Path, tries: int, seed: int) -> bool:
    """Runs it; whether all was well."""
    rng = random.Random(seed)
    keys = KeyDir(directory / "keys")
    known = read_key(keys.make("good", "admin")[1])
    revoked = []
    for number in range(REVOKED):
        revoked.append(read_key(keys.make(f"bad{number}", "admin")[1]))
        keys.revoke(f"bad{number}")
    base = f"tcp://127.0.0.1:{free_port_base()}"
    heard: list[str] = []
    begun = time.monotonic()
    with FakeEngine(directory / "rings") as engine:
        bridge = BridgeProcess(engine, base, keys=str(keys.path), **PATIENT)
        try:
            with connect(base, role="admin", key_file=keys.key_file("good"), **PATIENT) as client:
                client.on_message = lambda topic, message: heard.append(topic)
                client.subscribe(p.STATUS_TOPIC, p.trade_topic("BTCUSDT"))

                def publish() -> None:
                    engine.status()
                    engine.trade("BTCUSDT", "buy", 100.0, 0.001)

                done = knock(base, rng, tries, known, revoked, between=publish)
                well = client.state == "connected" and len(heard) > 0
        finally:
            bridge.kill()
    for kind in KINDS:
        by_socket = ", ".join(f"{name} {done.refused[kind, name]}" for name in p.SOCKETS)
        print(f"{kind:<13} refused: {by_socket}")
    print(
        f"seed {seed}: {done.refused.total()} of {tries} tries refused, none got a byte, "
        f"{done.unanswered.total()} without an answer; a good key had {len(heard)} messages; "
        f"{time.monotonic() - begun:.1f} s"
    )
    return well and not done.unanswered


def main() -> int:
    """The command; 1 if a stranger was not refused or a good key suffered."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tries", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        return 0 if campaign(Path(directory), args.tries, args.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
