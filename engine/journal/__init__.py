"""The journal: inputs appended to shared memory, copied to disk by a process of its own, and read back."""
