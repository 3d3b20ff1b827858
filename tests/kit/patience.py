"""For tests that are not about heartbeats: their peers may fall silent as long as a busy machine likes."""

PATIENT = {"heartbeat_misses": 500}
