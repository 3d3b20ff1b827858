"""Where what happened is kept: stores, their tables, and what writes to them and reads them."""
