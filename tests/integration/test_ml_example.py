"""Features to a scikit-learn process and signals back, as a user starts the two examples."""

import json
import os
import subprocess
import sys

from tests.kit.daemons import ROOT, SIMULATED, daemon

FOLDER = ROOT / "examples" / "external"


def test_a_model_in_another_process_answers_features_with_signals():
    with daemon(SIMULATED.replace("speed = 5.0", "speed = 10.0")) as it:
        it.start()
        options = ["--connect", f"ipc://{it.run_path}"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        model = subprocess.Popen(
            [sys.executable, FOLDER / "ml_model.py", *options, "--learn", "40"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert model.stdout.readline() == "listening\n"
            done = subprocess.run(
                [sys.executable, FOLDER / "ml_features.py", *options, "--seconds", "45", "--signals", "8"],
                env=environment,
                capture_output=True,
                text=True,
                timeout=100,
                check=True,
            )
        finally:
            model.terminate()
            model.wait()
            model.stdout.close()
    report = json.loads(done.stdout)
    assert report["looks"] > 60
    assert report["signals"] >= report["judged"] >= 8
    # It is no better than it is; but these are shares, and an answer takes time.
    assert 0.0 < report["right"] <= 1.0
    assert 0.5 <= report["coin"] <= 1.0
    assert 0.0 < report["answer_ms_p50"] <= report["answer_ms_p99"]
