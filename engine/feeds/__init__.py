"""Where market events come from: recordings, captures and the simulated market."""
