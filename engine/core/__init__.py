"""What everything else stands on: record layouts, error codes, rings, pools, maps and clocks."""
