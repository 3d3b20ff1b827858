"""An exchange of our own: orders by price and time, matched against each other; docs/matching.md has the rules."""
