"""Features of a live market to a model in another process, signals back: this is the model's side.

It listens to the batches of ml_features.py, learns a logistic regression from the first looks whose outcome
is known, again whenever there are half as many more, and answers each batch with the probability that the
mid will be higher ``HORIZON`` looks after its last row. The signal reaches every strategy inside the engine
(``on_signal``) and every client that subscribes to it. Needs scikit-learn: pip install 'ringbook[ml]'.
"""

import argparse

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bridge import protocol as p
from bridge.client import connect

HORIZON = 10


class Model:
    """Learns as it goes; None until it has seen enough."""

    def __init__(self, first: int) -> None:
        self.rows, self.learn_at, self.fitted = np.empty((0, 6)), first, None

    def take(self, batch: np.ndarray) -> float | None:
        """Takes shape (n, 6), batch and mid first; the probability that the mid rises after its last row."""
        self.rows = np.vstack([self.rows, batch])[-50_000:]
        if len(self.rows) >= self.learn_at:
            rose = self.rows[HORIZON:, 1] > self.rows[:-HORIZON, 1]
            if len(set(rose)) == 2:
                self.fitted = make_pipeline(StandardScaler(), LogisticRegression())
                self.fitted.fit(self.rows[:-HORIZON, 2:], rose)
                self.learn_at = int(1.5 * len(self.rows))
        return None if self.fitted is None else float(self.fitted.predict_proba(batch[-1:, 2:])[0, 1])


def main() -> None:
    """Answers until it is stopped."""
    parser = argparse.ArgumentParser(description="Answers features of a symbol with forecasts.")
    parser.add_argument("--connect", default="", help="default: the daemon on this machine")
    parser.add_argument("--symbol", default="BTCUSDT")
    parser.add_argument("--learn", type=int, default=500, help="looks to learn from at first")
    args = parser.parse_args()
    model = Model(args.learn)
    with connect(args.connect, role="trader", strategy_id="ml_model", symbols=[args.symbol]) as client:
        messages = client.messages(p.feature_topic(args.symbol))
        print("listening", flush=True)
        for message in messages:
            if type(message) is p.FeatureBatch and message.name == "looks":
                batch = np.frombuffer(message.data, "<f8").reshape(-1, len(message.columns))
                up = model.take(batch)
                if up is not None:
                    client.send_signal(f"up:{batch[0, 0]:.0f}", up, args.symbol)


if __name__ == "__main__":
    main()
