"""An exchange of our own, where orders are matched against each other; docs/matching.md has the rules."""
